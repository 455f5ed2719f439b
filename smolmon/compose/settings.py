"""What docker-compose.yml is told: whose files, which ports, which subnet, and the password."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path

from smolmon.cluster import Cluster
from smolmon.compose.engine import NOBODY, ComposeError, Engine

ENVIRONMENT = "compose.env"
PASSWORD = "grafana/admin-password"  # noqa: S105 - where it is
SUBNET = "SMOLMON_SUBNET"
# By service: the variable, and what it is unless the environment or an earlier run says otherwise.
PORTS = {
    "prometheus": ("SMOLMON_PROMETHEUS_PORT", 9090),
    "alertmanager": ("SMOLMON_ALERTMANAGER_PORT", 9093),
    "grafana": ("SMOLMON_GRAFANA_PORT", 3000),
    "long-term": ("SMOLMON_LONG_TERM_PORT", 8428),
    "lab": ("SMOLMON_LAB_PROMETHEUS_PORT", 19090),
    "lab alertmanager": ("SMOLMON_LAB_ALERTMANAGER_PORT", 19093),
}
SUBNETS = ("10.213.97.0/24", "172.30.213.0/24", "192.168.213.0/24", "10.97.213.0/24")
# Read by the programs when they start, and never again.
READ_ONCE = ("prometheus/prometheus.flags", "grafana/provisioning/datasources/smolmon.yml")


def ports(directory: Path, environment: Mapping[str, str]) -> dict[str, int]:
    """The port on loopback of each service. Raises ComposeError."""
    kept = {**_kept(directory / ENVIRONMENT), **environment}
    found = {}
    for service, (variable, usual) in PORTS.items():
        text = kept.get(variable) or str(usual)
        if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
            raise ComposeError(f"{variable}: {text!r} is not a port from 1 to 65535")
        found[service] = int(text)
    return found


def _kept(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    lines = (line.partition("=") for line in file.read_text(encoding="utf-8").splitlines())
    return {name: value.strip("'") for name, equals, value in lines if equals}


def subnet(
    clusters: Iterable[Cluster],
    directory: Path,
    environment: Mapping[str, str],
    *,
    emulated: bool = False,
) -> str:
    """A subnet for the containers in which nothing lies that they, or this machine, must reach.

    Of the network that a management address is in, only that address is known: a whole /16 is
    left to it. The emulated cluster has another than the real one's monitor, so that both can run.
    One that the environment names is taken as it is; what an earlier run had stays, where it can.

    Raises ComposeError.
    """
    kept = _kept(directory / ENVIRONMENT).get(SUBNET, "")
    if given := environment.get(SUBNET) or (kept if kept not in SUBNETS else ""):
        try:
            return str(IPv4Network(given))
        except ValueError:
            raise ComposeError(f"{SUBNET}: {given!r} is not a subnet such as 10.1.2.0/24") from None
    taken = [segment.subnet for cluster in clusters for segment in cluster.segments]
    for cluster in clusters:
        for node in cluster.nodes:
            try:
                taken.append(IPv4Network((int(IPv4Address(node.management)) & 0xFFFF0000, 16)))
            except AddressValueError:  # a name
                continue
    free = [s for s in SUBNETS if not any(IPv4Network(s).overlaps(other) for other in taken)]
    if kept in free:
        return kept
    return (free or SUBNETS)[-1 if emulated else 0]


def write(
    directory: Path,
    engine: Engine,
    chosen: Mapping[str, int],
    network: str,
    more: Mapping[str, str] | None = None,
) -> Path:
    """Write the settings file, and the password where there is none yet. Raises ComposeError."""
    whole = directory.resolve()
    if "'" in str(whole) or not str(whole).isprintable():
        raise ComposeError(f"{whole}: a folder with a quotation mark in its name cannot be mounted")
    settings = {
        "SMOLMON_MONITOR": str(whole),
        "SMOLMON_UID": str(engine.user),
        "SMOLMON_USERNS": engine.userns,
        SUBNET: network,
        "SMOLMON_SETTINGS": digest(directory),
        **{variable: str(chosen[service]) for service, (variable, _) in PORTS.items()},
        **(more or {}),
    }
    file = directory / ENVIRONMENT
    lines = ["# Written by smolmon up, for docker-compose.yml."]
    lines += [f"{name}='{value}'" for name, value in settings.items()]
    try:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _password(directory / PASSWORD)
        give_away(directory)
    except OSError as error:
        where = error.filename or directory
        raise ComposeError(f"{where}: cannot be written: {error.strerror}") from error
    return file


def digest(directory: Path) -> str:
    """Changes when a service must be started anew to see its configuration."""
    files = [directory / name for name in READ_ONCE]
    texts = [file.read_bytes() for file in files if file.exists()]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]


def _password(file: Path) -> None:
    """Made once; Grafana takes it when it starts for the first time."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(secrets.token_urlsafe(18))


def give_away(directory: Path) -> None:
    """What root wrote for its owner alone goes to the user whom root's containers run as."""
    if os.geteuid() != 0:
        return
    for path in directory.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        status = path.stat()
        if status.st_uid == 0 and not status.st_mode & 0o077:
            os.chown(path, NOBODY, NOBODY)


def missing_files(directory: Path, names: Sequence[str]) -> list[str]:
    """Of the files that the cluster file names, those that no container can read."""
    return [n for n in names if Path(n).is_absolute() or not (directory / n).is_file()]
