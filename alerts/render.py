"""The monitor's configuration: Prometheus, its rules and targets, Alertmanager.

The rules are the same for every cluster. What differs is the list of targets, the receiver, and,
for tests and demonstrations, the speed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

import yaml
from attrs import field, frozen

from smolmon.alerts.notify import HERE, alertmanager
from smolmon.alerts.notify_text import FILE, TEMPLATES
from smolmon.alerts.prometheus import Names, config, flags, targets
from smolmon.alerts.shared import disagreement, monitor_of, notify_of
from smolmon.alerts.speed import scale_rules
from smolmon.cluster import Cluster

HEADER = "# Written by smolmon render. Changes are lost when it writes again.\n"
ALERTMANAGER = "127.0.0.1:9093"
MAX_SPEED = 1000.0

RULES = "prometheus/rules"
TARGETS = "prometheus/targets"
TLS = "prometheus/tls"
KEY = ".key"


@frozen
class Trust:
    """How Prometheus proves itself to the exporters, and whom it believes; PEM."""

    certificate: str = field(repr=False)
    key: str = field(repr=False)
    authority: str = field(repr=False)


class RenderError(ValueError):
    """What was asked for cannot be written; the message is one line."""


def parse_speed(text: str) -> float:
    """A speed from 1 (real time) to MAX_SPEED. Raises RenderError."""
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 1 <= speed <= MAX_SPEED:
        raise RenderError(f"--speed: {text} is not a number from 1 to {MAX_SPEED:.0f}")
    return speed


def check_webhook(url: str) -> str:
    """`url`, if Alertmanager can post to it. Raises RenderError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise RenderError(f"--webhook: {url!r} is not a URL such as http://hook.example:9099/")
    return url


def render(
    cluster: Cluster,
    trust: Trust,
    speed: float = 1.0,
    webhook: str | None = None,
    secrets: PurePath = HERE,
    *,
    others: Mapping[Cluster, Trust] | None = None,
    names: Names | None = None,
) -> dict[str, str]:
    """Every file's text, by its path below the output folder; what others name comes first.

    Notifications go to `webhook` alone, or else to the cluster file's receivers, whose files of
    secrets Alertmanager finds at `secrets` where their paths are relative. `others` are further
    clusters that the same Prometheus watches. Raises RenderError.
    """
    trusts = {cluster: trust, **(others or {})}
    clusters = [cluster, *(others or {})]
    where = names or Names()
    if problem := disagreement(clusters):
        raise RenderError(problem)
    texts = {f"{RULES}/{name}": rules(text, speed) for name, text in shipped_rules().items()}
    for each, its in trusts.items():
        texts |= {
            f"{TLS}/{each.name}/authority.crt": its.authority,
            f"{TLS}/{each.name}/prometheus.crt": its.certificate,
            f"{TLS}/{each.name}/prometheus{KEY}": its.key,
            f"{TARGETS}/{each.name}.json": targets(each),
        }
    return texts | {
        "prometheus/prometheus.yml": _dump(config(clusters, speed, where)),
        "prometheus/prometheus.flags": flags(monitor_of(clusters), where.data, speed),
        f"alertmanager/{FILE}": TEMPLATES,
        "alertmanager/alertmanager.yml": _dump(
            alertmanager(speed, notify_of(clusters), webhook, secrets)
        ),
    }


def shipped_rules() -> dict[str, str]:
    """The text of each rule file that comes with smolmon, by name."""
    folder = files("smolmon.alerts") / "rules"
    return {
        file.name: file.read_text(encoding="utf-8")
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".yml")
    }


def rules(text: str, speed: float) -> str:
    """One rule file as it is written."""
    return HEADER + scale_rules(text, speed)


def _dump(config: dict[str, Any]) -> str:
    return HEADER + yaml.safe_dump(config, sort_keys=False)


def write(directory: Path, texts: dict[str, str]) -> list[Path]:
    """Write `texts` below `directory`; return the files' paths.

    Each file is replaced in one step, and none before all are written beside them: a full disk
    leaves what was there. Rule files, and the keys and targets of clusters, of earlier runs that
    are not among `texts` are removed. A YAML file that somebody else wrote is neither replaced nor
    removed. Raises RenderError.
    """
    paths = [directory / name for name in texts]
    try:
        for path in paths:
            if path.suffix == ".yml" and path.exists() and not _is_ours(path):
                raise RenderError(f"{path}: not written by smolmon render; move it away first")
            if path.suffix == KEY and path.exists() and os.geteuid() not in (0, path.stat().st_uid):
                raise RenderError(
                    f"{path}: belongs to another user, who is to keep it; render as root, or "
                    "remove it first"
                )
        _replace(dict(zip(paths, texts.values(), strict=True)))
        for path in (directory / RULES).glob("*.yml"):
            if path not in paths and _is_ours(path):
                path.unlink()
        for folder in (directory / TLS).glob("*/"):
            if folder / f"prometheus{KEY}" not in paths:
                _forget(directory, folder)
    except OSError as error:
        where = error.filename or directory
        raise RenderError(f"{where}: cannot be written: {error.strerror or error}") from error
    return paths


def _forget(directory: Path, folder: Path) -> None:
    """Remove the targets and the key of a cluster that is watched no longer."""
    for name in ("authority.crt", "prometheus.crt", f"prometheus{KEY}"):
        (folder / name).unlink(missing_ok=True)
    (directory / TARGETS / f"{folder.name}.json").unlink(missing_ok=True)
    with suppress(OSError):  # somebody keeps something else in it
        folder.rmdir()


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER.encode()


def _replace(texts: Mapping[Path, str]) -> None:
    """Give each path its new text in one step: Prometheus may read it at any moment."""
    # The names end in no suffix that Prometheus' globs or file watch would take.
    made = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in texts}
    try:
        for path, temporary in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == KEY:
                _write_private(path, temporary, texts[path])
            else:
                temporary.write_text(texts[path], encoding="utf-8")
        for path, temporary in made.items():
            temporary.replace(path)
    finally:
        for temporary in made.values():
            with suppress(NotADirectoryError):
                temporary.unlink(missing_ok=True)


def _write_private(path: Path, temporary: Path, text: str) -> None:
    """For its owner alone from the beginning; root leaves it to the user whom it was given to."""
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if path.exists() and os.geteuid() == 0:
            before = path.stat()
            os.fchown(descriptor, before.st_uid, before.st_gid)
