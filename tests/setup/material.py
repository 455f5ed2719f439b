"""What several tests of setup start from: recorded output, and a model of what commands do.

The recordings were made by the facts and verify scripts on Debian 12 (NetworkManager 1.42, systemd
252), before and after `smolmon setup` of examples/guide.yaml: `provisioned` by an early version,
`installed` by one that also asks what is kept for the next boot.
"""

from __future__ import annotations

import hashlib
import shlex
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from attrs import evolve

from smolmon.cluster import Cluster, Kind, load
from smolmon.cluster.model import Apart
from smolmon.setup.bundle import Bundle, Identity
from smolmon.setup.linux import facts as facts_module
from smolmon.setup.linux import fence, neighbours
from smolmon.setup.linux.facts import Connection, Facts, KernelRoute, Profile, ProfileRoute
from smolmon.setup.linux.facts_system import File
from smolmon.setup.linux.neighbours import StaticNeighbour
from smolmon.setup.linux.service import WantedFile, files
from smolmon.setup.linux.wanted import Wanted, wanted
from smolmon.setup.steps import Step

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "examples" / "guide.yaml"
NOW = 1_800_000_000  # later than every time in the recordings
IDENTITY = Identity(b"certificate", b"key", b"authority", (0, 2**40))


def recorded(name: str) -> str:
    """The text of a recording."""
    return (Path(__file__).parent / "recorded" / f"{name}.txt").read_text()


@cache
def guide() -> Cluster:
    """The guide's cluster."""
    return load(GUIDE)


@cache
def bare(node: str) -> Facts:
    """`node` before its first setup."""
    return facts_module.parse(recorded(f"{node}-bare"))


@cache
def want(node: str) -> Wanted:
    """What the guide's cluster asks of `node`."""
    return wanted(guide(), node)


@cache
def strict() -> Cluster:
    """The guide's cluster, with segments kept apart and static neighbours on Ethernet."""
    segments = tuple(evolve(s, static_neighbors=s.kind is Kind.ETHERNET) for s in guide().segments)
    return evolve(guide(), isolation=Apart.ENFORCE, segments=segments)


def bundle(agent: bytes = b"agent", identity: Identity = IDENTITY) -> Bundle:
    """What the controller brings, with stand-ins for the agent and the certificates."""
    return Bundle(agent, GUIDE.read_bytes(), identity)


def files_of(
    node: str, facts: Facts, agent: bytes = b"agent", identity: Identity = IDENTITY
) -> tuple[WantedFile, ...]:
    """The files that `node` needs, with stand-ins for the agent and the certificates."""
    return files(want(node), facts, bundle(agent, identity))


@cache
def provisioned(node: str) -> Facts:
    """`node` after setup, with the files of `files_of`."""
    facts = facts_module.parse(recorded(f"{node}-provisioned"))
    digests = {
        f.path: evolve(facts.files[f.path], sha256=hashlib.sha256(f.content).hexdigest())
        for f in files_of(node, facts)
    }
    return evolve(facts, files=digests)


@cache
def installed(node: str) -> Facts:
    """`node` after setup, with all that smolmon put there."""
    return facts_module.parse(recorded(f"{node}-installed"))


def after(facts: Facts, step: Step) -> Facts:
    """A node of these facts after a step, as NetworkManager, systemd and the kernel would do it.

    Written against their documentation and what was seen on real ones, not against the plan: an
    unknown command is an error.
    """
    first = step.command.split(" || ", maxsplit=1)[0]  # the first way works here
    for one in first.split(" && "):
        plain = one.removeprefix("{ ").removesuffix("; } 2>/dev/null")
        words = shlex.split(plain.removesuffix(" </dev/null"))
        if words[:2] == ["sudo", "-n"]:
            words = words[2:]
        facts = _run(facts, words, step.content)
    return facts


def _run(facts: Facts, words: list[str], content: bytes | None) -> Facts:  # noqa: PLR0911, PLR0912
    match words:
        case ["nmcli", "connection", "add", "type", "ethernet", *pairs]:
            new = _profile(None, pairs)
            assert new.uuid not in facts.stored
            listed = (*facts.connections, Connection(new.uuid, new.name, "", new.kind))
            return evolve(facts, stored={**facts.stored, new.uuid: new}, connections=listed)
        case ["nmcli", "connection", "modify", "uuid", uuid, *pairs]:
            changed = _profile(facts.stored[uuid], pairs)
            return evolve(facts, stored={**facts.stored, uuid: changed})
        case ["nmcli", "connection", "delete", "uuid", uuid]:
            return _deleted(facts, uuid)
        case ["nmcli", "--wait", _, "connection", "up", "uuid", uuid, "ifname", name]:
            return _active(facts, name, facts.stored[uuid])
        case ["nmcli", "--wait", _, "device", "reapply", name]:
            return _active(facts, name, facts.stored[facts.applied[name].uuid])
        case ["install", "-D", "-m", mode, "/dev/stdin", path]:
            assert content is not None
            new_file = File(hashlib.sha256(content).hexdigest(), NOW, int(mode, 8))
            static = facts.static
            if path.startswith(neighbours.FILE):
                static = neighbours.entries(content.decode())
            return evolve(facts, files={**facts.files, path: new_file}, static=static)
        case ["rm", "-f", path]:
            return evolve(
                facts,
                files={k: f for k, f in facts.files.items() if k != path},
                folder=tuple(p for p in facts.folder if p != path),
                setters={k: tuple(p for p in v if p != path) for k, v in facts.setters.items()},
                static=() if path == neighbours.FILE else facts.static,
                fence=evolve(facts.fence, made=() if path == fence.RULES else facts.fence.made),
            )
        case ["rmdir", path]:
            assert path in facts.folder
            assert not any(p.startswith(f"{path}/") for p in facts.folder)
            return evolve(facts, folder=tuple(p for p in facts.folder if p != path))
        case ["ln", old, new_path]:
            assert new_path not in facts.files
            return evolve(facts, files={**facts.files, new_path: facts.files[old]})
        case ["mv", "-f", old, new_path]:
            moved = {**facts.files, new_path: facts.files[old]}
            del moved[old]
            return evolve(facts, files=moved)
        case ["ip", "neigh", "replace", address, "lladdr", mac, *_, "dev", name]:
            kept = StaticNeighbour(IPv4Address(address), mac, name)
            return evolve(facts, permanent=(*_others(facts, address, name), kept))
        case ["ip", "neigh", "del", address, "dev", name]:
            return evolve(facts, permanent=_others(facts, address, name))
        case ["systemctl", "enable", "-q", fence.UNIT]:
            return evolve(facts, fence=evolve(facts.fence, enabled=True, reload_needed=False))
        case ["systemctl", "disable", "-q", fence.UNIT]:
            return evolve(facts, fence=evolve(facts.fence, enabled=False))
        case ["systemctl", "stop", fence.UNIT]:
            return evolve(facts, fence=evolve(facts.fence, active=False, live=()))
        case ["systemctl", "restart" | "reload", fence.UNIT]:
            # Loading a file makes the kernel what the file makes of an empty one.
            rules = (facts.files[fence.RULES].sha256,)
            return evolve(facts, fence=evolve(facts.fence, active=True, live=rules, made=rules))
        case ["nft", "delete", "table", "ip", fence.TABLE]:
            assert facts.fence.live
            return evolve(facts, fence=evolve(facts.fence, live=()))
        case ["sysctl", "-q", "-w", setting]:
            key, value = setting.split("=")
            return evolve(facts, sysctl={**facts.sysctl, key: value})
        case ["systemctl", "enable", "-q", _]:
            return evolve(facts, service=evolve(facts.service, enabled=True, reload_needed=False))
        case ["systemctl", "daemon-reload"]:
            return evolve(
                facts,
                service=evolve(facts.service, reload_needed=False),
                fence=evolve(facts.fence, reload_needed=False),
            )
        case ["systemctl", "stop", _]:
            return evolve(facts, service=evolve(facts.service, active=False, started=None))
        case ["systemctl", "disable", "-q", _]:
            return evolve(facts, service=evolve(facts.service, enabled=False))
        case ["systemctl", "restart", _]:
            return evolve(facts, service=evolve(facts.service, active=True, started=NOW))
    raise AssertionError(f"the model does not know {words}")


def _others(facts: Facts, address: str, name: str) -> tuple[StaticNeighbour, ...]:
    here = (IPv4Address(address), name)
    return tuple(n for n in facts.permanent if (n.address, n.interface) != here)


def _profile(before: Profile | None, pairs: list[str]) -> Profile:
    profile = before or Profile(
        *("", "", "802-3-ethernet", None, None, True, 0, "auto", (), "", (), False, False, "auto")
    )
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        profile = _set(profile, key, value)
    return profile


def _set(profile: Profile, key: str, value: str) -> Profile:  # noqa: PLR0911, PLR0912
    items = [item.strip() for item in value.split(",") if item.strip()]
    match key:
        case "con-name" | "connection.id":
            return evolve(profile, name=value)
        case "ifname" | "connection.interface-name":
            return evolve(profile, interface=None if value in ("", "*") else value)
        case "connection.uuid":
            return evolve(profile, uuid=value)
        case "802-3-ethernet.mac-address":
            return evolve(profile, mac=value or None)
        case "connection.autoconnect":
            return evolve(profile, autoconnect=value == "yes")
        case "connection.autoconnect-priority":
            return evolve(profile, priority=int(value))
        case "ipv4.method":
            return evolve(profile, method=value)
        case "ipv4.addresses":
            return evolve(profile, addresses=tuple(map(IPv4Interface, items)))
        case "ipv4.gateway":
            return evolve(profile, gateway=value)
        case "ipv4.routes":
            pairs = [item.split() for item in items]
            routes = [ProfileRoute(IPv4Network(d), IPv4Address(v)) for d, v in pairs]
            return evolve(profile, routes=facts_module.sorted_routes(routes))
        case "ipv4.never-default":
            return evolve(profile, never_default=value == "yes")
        case "ipv4.dns":
            return evolve(profile, dns=bool(value))
        case "ipv6.method":
            return evolve(profile, ipv6_method=value)
    raise AssertionError(f"the model does not know {key}")


def _deleted(facts: Facts, uuid: str) -> Facts:
    devices = [name for name, profile in facts.applied.items() if profile.uuid == uuid]
    for name in devices:
        facts = _with_kernel(facts, name, (), ())
    return evolve(
        facts,
        stored={key: value for key, value in facts.stored.items() if key != uuid},
        applied={key: value for key, value in facts.applied.items() if key not in devices},
        connections=tuple(c for c in facts.connections if c.uuid != uuid),
    )


def _active(facts: Facts, name: str, profile: Profile) -> Facts:
    routes = [KernelRoute(r.destination, r.via, name) for r in profile.routes]
    routes += [KernelRoute(a.network, None, name) for a in profile.addresses]
    if profile.gateway and not profile.never_default:
        anywhere = IPv4Network("0.0.0.0/0")
        routes.append(KernelRoute(anywhere, IPv4Address(profile.gateway), name))
    facts = _with_kernel(facts, name, profile.addresses, tuple(routes))
    return evolve(facts, applied={**facts.applied, name: profile})


def _with_kernel(
    facts: Facts, name: str, addresses: tuple[IPv4Interface, ...], routes: tuple[KernelRoute, ...]
) -> Facts:
    return evolve(
        facts,
        interfaces=tuple(
            evolve(i, addresses=addresses, up=True, carrier=i.carrier or not i.up)
            if i.name == name
            else i
            for i in facts.interfaces
        ),
        routes=(*(r for r in facts.routes if r.device != name), *routes),
    )
