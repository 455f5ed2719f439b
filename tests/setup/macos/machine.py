"""A Mac to run scripts on, under a folder: modelled tools, a real shell, real processes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import sys
from pathlib import Path

from attrs import define, field

from smolmon.setup.macos import sudoers, tools
from smolmon.setup.shell import framed, unframed
from smolmon.setup.ssh import Result, SshError
from tests.setup.macos import model, standins

REPOSITORY = Path(__file__).parents[3]
# What stands under the folder instead of at the root.
PROGRAMS = (
    *(tools.NETWORKSETUP, tools.SYSCTL, tools.IFCONFIG, tools.ROUTE, tools.NETSTAT),
    *(tools.LAUNCHCTL, tools.PMSET, tools.SYSTEM_PROFILER, tools.SOCKETFILTERFW, tools.SHASUM),
    *(tools.ARP, tools.PFCTL),
    *("/usr/bin/xcode-select", tools.PYTHONS[0]),
)
_MOVED = re.compile(
    "|".join(map(re.escape, (*PROGRAMS, tools.DAEMONS, *tools.DIRECTORIES, "/etc/sysctl.conf")))
)
# What is sent within a script, behind the line that says what becomes of it.
_CONTENT = re.compile(
    r"(<<'@@end' \|\| failed\n|<<'@@end' \|[^\n]*be written'\n)(.*?)(?=@@end)", re.DOTALL
)


@define
class Machine:
    """A Runner whose scripts find a Mac. `cut` makes it unreachable."""

    root: Path
    shell: str = "/bin/sh"
    cut: bool = False
    ran: list[str] = field(factory=list)

    @classmethod
    def made(cls, root: Path, state: model.State, shell: str = "/bin/sh") -> Machine:
        """A Mac in that state."""
        machine = cls(root, shell)
        machine.save(state)
        for program in (*PROGRAMS, "/bin/sudo"):
            path = root / program[1:]
            path.parent.mkdir(parents=True, exist_ok=True)
            if program == tools.PYTHONS[0]:
                path.symlink_to(sys.executable)
                continue
            path.write_text(
                f"#!/bin/sh\nPYTHONPATH='{REPOSITORY}' exec '{sys.executable}' -S "
                f"-m tests.setup.macos.standins '{root}' {path.name} \"$@\"\n"
            )
            path.chmod(0o755)
        (root / "bin/id").write_text(
            '#!/bin/sh\ncase $* in -un) echo train ;; -u) echo 501 ;; *) exec /usr/bin/id "$@" ;; '
            "esac\n"
        )
        (root / "bin/id").chmod(0o755)
        (root / tools.DAEMONS[1:]).mkdir(parents=True)
        # What a Mac has, and the stand-ins do not care for.
        patterns = [re.sub(r"\\(.)", r"\1", one) for one in sudoers.commands()]
        (root / "sudoers").write_text("\n".join(patterns))
        return machine

    def state(self) -> model.State:
        """What the Mac is like now."""
        state: model.State = json.loads((self.root / "state.json").read_text())
        return state

    def save(self, state: model.State) -> None:
        """Make it like that."""
        (self.root / "state.json").write_text(json.dumps(state))

    def moved(self, script: str) -> str:
        """The script with everything that is the Mac's own under the folder, contents too."""

        def content(found: re.Match[str]) -> str:
            text = self.moved(base64.b64decode(found[2]).decode())
            return found[1] + base64.encodebytes(text.encode()).decode()

        script = _CONTENT.sub(content, script)
        return _MOVED.sub(lambda found: f"{self.root}{found[0]}", script)

    async def run(self, script: str, timeout: float = 30.0, *, fresh: bool = False) -> Result:
        """See Runner."""
        if self.cut and fresh:
            raise SshError("mini1", "it does not answer", "look")
        self.ran.append(script)
        path = f"{self.root}/bin:{os.environ['PATH']}"
        text = framed(f"PATH={path}\n{self.moved(script)}", "@@status")
        process = await asyncio.create_subprocess_exec(
            *(self.shell, *(["--posix"] if "bash" in self.shell else []), "-s"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": path, "SSH_CONNECTION": "192.168.1.2 50000 192.168.1.11 22"},
            start_new_session=True,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(text.encode()), timeout)
        except asyncio.TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise SshError("mini1", "no answer", "look") from None
        found = unframed(out.decode().replace(str(self.root), ""), "@@status")
        assert found is not None, err.decode()
        return Result(found[1], found[0], err.decode().replace(str(self.root), "").strip())

    def path(self, name: str) -> Path:
        """Where that file of the Mac is."""
        return self.root / name[1:]

    def stop(self) -> None:
        """End every process that launchd started."""
        state = self.state()
        for job in state["jobs"].values():
            if standins.alive(job["pid"]):
                os.killpg(job["pid"], signal.SIGKILL)
        self.save(state | {"jobs": {}})

    def reboot(self) -> None:
        """All processes end, and launchd starts what has a property list."""
        self.stop()
        state = self.state()
        for file in sorted(self.path(tools.DAEMONS).iterdir()):
            state["jobs"][file.stem] = standins.start(self.root, file)
        self.save(state)
