"""Docker Compose, or Podman's, whichever this machine has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

OLDEST = (2, 20)
OLDEST_PODMAN = (1, 2)  # of podman-compose: the first that does without a pod
TIMEOUT = 60.0  # seconds, for a question that is answered at once where an engine runs


class ComposeError(Exception):
    """The monitor cannot be started or stopped. One line: what, where, remedy."""


@frozen
class Engine:
    """How to run compose. `user` and `userns` make a container's files those of who runs it."""

    command: tuple[str, ...]
    user: int
    userns: str = ""

    @property
    def program(self) -> str:
        """What knows of containers: docker or podman."""
        return "podman" if self.command[0] == "podman" else "docker"

    @property
    def name(self) -> str:
        """As a person types it."""
        return " ".join(self.command)


def find() -> Engine:
    """The engine of this machine, which answers. Raises ComposeError."""
    if shutil.which("docker"):
        return _docker()
    if shutil.which("podman"):
        return _podman()
    raise ComposeError(
        "neither docker nor podman is here; install Docker Desktop (macOS), or `apt-get install "
        "docker.io docker-compose` (Debian 13, Ubuntu), or run Prometheus yourself: smolmon render"
    )


def _docker() -> Engine:
    done = _ask(["docker", "info", "--format", "{{.SecurityOptions}}"])
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}"
        if "permission denied" in said:
            raise ComposeError("docker: you may not use its socket; run this with sudo")
        raise ComposeError(
            "docker: its daemon does not answer; start Docker Desktop, or run: sudo systemctl "
            "start docker"
        )
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) and (version := _version(command)):
            if version < OLDEST:
                raise ComposeError(
                    f"{' '.join(command)} is version {_dotted(version)}; needs {_dotted(OLDEST)} "
                    "or newer"
                )
            # There, the container's root is the user who runs it, and has no more rights.
            user = 0 if "rootless" in done.stdout else owner()
            return Engine(command, user)
    raise ComposeError(
        "docker has no compose; install its package docker-compose-plugin (Docker's own packages), "
        "docker-compose-v2 (Ubuntu) or docker-compose (Debian 13)"
    )


def _podman() -> Engine:
    command = ("podman", "compose")
    done = _ask([*command, "version"])
    if done.returncode:
        raise ComposeError(
            "podman has no compose; needs Podman 4.7 or newer, and podman-compose "
            f"{_dotted(OLDEST_PODMAN)} or newer"
        )
    found = re.search(r"podman-compose version (\d+)\.(\d+)", done.stdout)
    if found and (version := (int(found[1]), int(found[2]))) < OLDEST_PODMAN:
        raise ComposeError(
            f"podman-compose is version {_dotted(version)}; needs {_dotted(OLDEST_PODMAN)} or newer"
        )
    return Engine(command, owner(), "" if os.geteuid() == 0 else "keep-id")


def owner() -> int:
    """Whom containers run as: the user who starts them, and nobody where that is root."""
    return os.geteuid() or NOBODY


NOBODY = 65534


def _reason(lines: Sequence[str]) -> str:
    """Of what compose printed, the line that says why it failed."""
    # Podman's own last word is only which program it ran.
    said = [line for line in lines if not line.startswith("Error: executing ")]
    last = (said or ["no message"])[-1]
    if "podman.sock" in last:
        as_user = "" if os.geteuid() == 0 else "--user "
        return (
            "podman runs docker-compose, which needs its socket: systemctl "
            f"{as_user}enable --now podman.socket"
        )
    return last


def _version(command: Sequence[str]) -> tuple[int, int] | None:
    done = _ask([*command, "version", "--short"])
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found and not done.returncode else None


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _ask(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise ComposeError(f"{command[0]}: no answer in {TIMEOUT:.0f} s; restart it") from error
    except OSError as error:
        raise ComposeError(f"{command[0]}: cannot be run: {error.strerror}") from error


def running(engine: Engine, project: str, services: Iterable[str]) -> dict[str, str]:
    """Which of `services` of a compose project run now, and in which containers.

    Raises ComposeError.
    """
    found = {}
    for service in services:
        labels = (f"project={project}", f"service={service}")
        wanted = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        done = _ask([engine.program, "ps", "--quiet", "--filter=status=running", *wanted])
        if done.returncode:
            last = (done.stderr.splitlines() or ["no message"])[-1].strip()
            raise ComposeError(f"{engine.program}: {last}")
        if containers := done.stdout.strip():
            found[service] = containers
    return found


def run(
    engine: Engine, arguments: Sequence[str], say: Callable[[str], None] = lambda _: None
) -> None:
    """Run compose; `say` gets what it prints, line by line. Raises ComposeError.

    Both outputs are one: it tells its progress on either, and waits where one is not read.
    """
    command = [*engine.command, *arguments]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise ComposeError(f"{engine.name}: cannot be run: {error.strerror}") from error
    told: list[str] = []
    with process:
        for line in process.stdout or ():
            if line.strip():
                told.append(line.strip())
                say(told[-1])
    if process.returncode:
        raise ComposeError(f"{engine.name}: {_reason(told)}")
