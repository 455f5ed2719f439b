"""What SmolCluster's own files say, as it stands there: `nodes.yaml` and `cluster_config_*.yaml`.

Their form, as of its commit c60f3f3 (May 2026):

- `nodes.yaml`: `nodes: [{alias, ip, user}]`, each with an address of its own.
- `cluster_config_*.yaml`: `server`; `workers`, a list of `{hostname, rank, ip}` or
  `{regular: [...], tablets: [...]}`, also below `allToAllTopology` and `pipelineTopology`; `port`,
  a number or a number for each name; `host_ip`, for each name the address *at which it reaches the
  server*, though in practice some are its own. Some files have all that below `syncPS`.
- Until January 2026 `workers`, or its `regular`, was a list of bare names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

import yaml
from attrs import evolve, frozen

from smolmon.cluster.places import Place, Problem, YamlError, read

MOST = 64 * 1024  # bytes; the real ones have 2 to 4 thousand
TOPOLOGIES = ("allToAllTopology", "pipelineTopology")
MARKS = ("host_ip", "workers", "server", *TOPOLOGIES, "syncPS")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,38}[A-Za-z0-9])?")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")


class SourceError(ValueError):
    """A file that cannot be used. One line: which, where, what, and what to do."""


@frozen
class Machine:
    """One mention of a machine. `ip` is its own address."""

    name: str
    ip: IPv4Address | None = None
    user: str | None = None
    rank: int | None = None


@frozen
class Source:
    """What one file says."""

    machines: tuple[Machine, ...] = ()  # those that take part
    tablets: tuple[str, ...] = ()
    server: str | None = None
    port: int | None = None  # the server's
    ways: tuple[tuple[str, IPv4Address], ...] = ()  # `host_ip`


def load(path: Path) -> Source:
    """Read one of the two kinds of file. Raises SourceError."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST + 1)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > MOST:
        raise SourceError(f"{path}: has more than {MOST // 1024} kB, so it is not SmolCluster's")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not UTF-8 text") from None
    return parse(text, str(path))


def parse(text: str, file: str) -> Source:
    """Make sense of the text of a file; `file` is its name in messages. Raises SourceError."""
    try:
        _refuse_tags(text, file)
        top = read(text, file)
    except YamlError as error:
        raise SourceError(str(error.problem)) from error
    keys = top.value if isinstance(top.value, dict) else {}
    reader = _Reader(file)
    if "nodes" in keys:
        return reader.nodes(keys["nodes"])
    if any(mark in keys for mark in MARKS):
        return reader.config(keys)
    raise reader.wrong(top, "is neither a nodes.yaml nor a cluster_config_*.yaml of SmolCluster")


def _refuse_tags(text: str, file: str) -> None:
    """`!!python/object...` and the like: nothing here would obey them, and no such file has any."""
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.TagToken):
                line = token.start_mark.line + 1
                raise YamlError(Problem(file, line, "", "has a YAML tag; write plain values"))
    except (yaml.YAMLError, RecursionError):
        return  # told by who reads it


@frozen
class _Reader:
    """Reads places, and stops at the first that cannot be right."""

    file: str

    def wrong(self, place: Place, message: str) -> SourceError:
        return SourceError(str(Problem(self.file, place.line, place.key, message)))

    def nodes(self, place: Place) -> Source:
        return Source(tuple(self.machines(place, "alias")))

    def config(self, keys: dict[str, Place]) -> Source:
        inner = keys.get("syncPS")
        if inner is not None and isinstance(inner.value, dict):
            keys = {**keys, **inner.value}
        server = self.host(keys["server"]) if _there(keys.get("server")) else None
        machines: list[Machine] = []
        tablets: list[Machine] = []
        for workers in self.workers(keys):
            regular, other = workers, None
            if isinstance(workers.value, dict):
                regular = workers.value.get("regular", evolve(workers, value=None))
                other = workers.value.get("tablets")
            machines += self.machines(regular, "hostname")
            tablets += self.machines(other, "hostname") if other else ()
        return Source(
            machines=tuple(machines),
            tablets=tuple(m.name for m in tablets),
            server=server,
            port=self.port(keys.get("port"), server),
            ways=tuple(self.ways(keys.get("host_ip"))),
        )

    def workers(self, keys: dict[str, Place]) -> Iterator[Place]:
        if _there(keys.get("workers")):
            yield keys["workers"]
        for name in TOPOLOGIES:
            block = keys.get(name)
            if block is not None and isinstance(block.value, dict) and "workers" in block.value:
                yield block.value["workers"]

    def machines(self, place: Place, name: str) -> Iterator[Machine]:
        if place.value is None:
            return
        if not isinstance(place.value, list):
            raise self.wrong(place, f"must be a list of machines, each with `{name}`")
        for entry in place.value:
            if isinstance(entry.value, str) and name == "hostname":
                yield Machine(self.host(entry))
                continue
            keys = entry.value if isinstance(entry.value, dict) else {}
            if name not in keys:
                raise self.wrong(entry, f"`{name}` is missing")
            rank = keys.get("rank")
            digits = rank.value if rank is not None and isinstance(rank.value, str) else ""
            yield Machine(
                name=self.host(keys[name]),
                ip=self.address(keys["ip"]) if _there(keys.get("ip")) else None,
                user=self.user(keys["user"]) if _there(keys.get("user")) else None,
                rank=int(digits) if re.fullmatch(r"[0-9]{1,6}", digits) else None,
            )

    def ways(self, place: Place | None) -> Iterator[tuple[str, IPv4Address]]:
        if place is None or place.value is None:
            return
        if not isinstance(place.value, dict):
            raise self.wrong(place, "must be a mapping from names to addresses")
        for name, way in place.value.items():
            yield self.host(evolve(way, value=name)), self.address(way)

    def host(self, place: Place) -> str:
        return self.text(place, HOST, "a host name")

    def user(self, place: Place) -> str:
        return self.text(place, USER, "a user name")

    def text(self, place: Place, pattern: re.Pattern[str], expected: str) -> str:
        if not isinstance(place.value, str) or not pattern.fullmatch(place.value):
            # What is said of a hostile one must be harmless too.
            key = place.key if place.key.isprintable() and len(place.key) < 80 else ""
            raise self.wrong(evolve(place, key=key), f"{_shown(place)} is not {expected}")
        return place.value

    def address(self, place: Place) -> IPv4Address:
        try:
            found = IPv4Address(place.value if isinstance(place.value, str) else "")
        except AddressValueError:
            raise self.wrong(place, f"{_shown(place)} is not an IPv4 address") from None
        if found.is_unspecified or found.is_loopback or found.is_multicast:
            raise self.wrong(place, f"{found} is not the address of a machine")
        return found

    def port(self, place: Place | None, server: str | None) -> int | None:
        if place is None or place.value is None:
            return None
        if isinstance(place.value, dict):
            for name in filter(None, (server, "default")):
                if name in place.value:
                    return self.port(place.value[name], None)
            return None
        text = place.value if isinstance(place.value, str) else ""
        if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
            raise self.wrong(place, f"{_shown(place)} is not a port from 1 to 65535")
        return int(text)


def _there(place: Place | None) -> bool:
    return place is not None and place.value is not None


def _shown(place: Place) -> str:
    if not isinstance(place.value, str):
        return place.shape
    return ascii(place.value if len(place.value) <= 40 else f"{place.value[:40]}...")
