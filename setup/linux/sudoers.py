"""A sudoers file that allows what setup does on one node, and nothing else. Pure.

The commands are not listed here: they are read off the very plans that setup would make, for a
bare node, for one where everything differs, and for taking smolmon away.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from ipaddress import IPv4Interface

from attrs import evolve

from smolmon.setup.bundle import Bundle, Identity
from smolmon.setup.linux import fence, nmcli
from smolmon.setup.linux.facts import Connection, Facts, Interface
from smolmon.setup.linux.facts_system import PROGRAMS, UNIT, Fence, File, Service
from smolmon.setup.linux.neighbours import StaticNeighbour
from smolmon.setup.linux.plan import plan
from smolmon.setup.linux.removal import removal
from smolmon.setup.linux.service import DIRECTORY, LEFTOVERS, PATHS, PRIVATE, SYSCTL_FILE, files
from smolmon.setup.linux.wanted import ETHERNET, PREFIX, Wanted
from smolmon.setup.steps import Plan

# Words and operators of our own lines of shell. shlex goes through them character by character,
# which takes longer than all the rest that is done before a node is asked.
_TOKEN = re.compile(r"""[();<>|&]+|(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s();<>|&'"\\])+""")
_QUOTED = re.compile(r"""['"\\]""")
# What the kernel starts with (ip-sysctl.rst, icmp(7)).
DEFAULTS = {"net.ipv4.ip_forward": "0", "net.ipv4.ping_group_range": "1 0"}
# Stand-ins for what is known only later, as sudoers patterns. None can match a space: a `*` would.
_HEX = "[0-9a-f]"
_SOME_UUID = "-".join(_HEX * count for count in (8, 4, 4, 4, 12))
_CHECKPOINTS = ["/org/freedesktop/NetworkManager/Checkpoint/" + "[0-9]" * n for n in range(1, 6)]
# Any neighbour's MAC address, as a word that passes for one.
_MAC = "02:6d:61:63:6d:61"
_SOME_MAC = r"\:".join([_HEX * 2] * 6)
# Programs that only nodes with rules need to have.
_OPTIONAL = ("nft", "unshare")
_SECONDS = ["[1-9]" + "[0-9]" * n for n in (1, 2, 3)]


def sudoers(wanted: Wanted, facts: Facts) -> str:
    """The file for the user of these facts. Raises KeyError for a program that is not there."""
    user = facts.user if re.fullmatch(r"[a-z_][a-z0-9_-]*", facts.user) else f'"{facts.user}"'
    head = (
        f"# What `smolmon setup` does on {wanted.node}, for /etc/sudoers.d/smolmon (mode 0440).\n"
        "# Whoever may install a unit may become root by it: this guards against slips, not\n"
        "# against the account's owner.\n"
    )
    lines = [
        f"{user} ALL=(root) NOPASSWD: {facts.programs[words[0]]} {arguments}\n"
        for words in [*commands(wanted, facts), permit_words(wanted)]
        if words[0] in facts.programs or words[0] not in _OPTIONAL
        for arguments in _arguments(words[1:])
    ]
    return head + "".join(dict.fromkeys(lines))


def permit_words(wanted: Wanted) -> list[str]:
    """A command that does nothing, allowed by the file that fits today's cluster file alone."""
    text = repr(commands(wanted, _anybody(wanted)))
    return ["basename", f"smolmon-{hashlib.sha256(text.encode()).hexdigest()[:16]}"]


def commands(wanted: Wanted, facts: Facts) -> list[list[str]]:
    """All that setup may run as root on a node of these facts, each once."""
    user = evolve(facts, uid=facts.uid or 1)  # root's plans hold no sudo to look for
    # Each once: most of them are in several plans, and reading one takes its time.
    texts = dict.fromkeys(text for made in _plans(wanted, user) for text in _texts(made))
    found = [words for text in texts for words in as_root(text)]
    found += [
        nmcli.checkpoint_create("SECONDS"),
        nmcli.checkpoint_destroy("CHECKPOINT"),
        nmcli.checkpoint_rollback("CHECKPOINT"),
        ["rm", "-f", *LEFTOVERS],
        *(["sha256sum", path] for path in PRIVATE),
        journal(),
        *((fence.live(), fence.made()) if wanted.fence is not None else ()),
    ]
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


def journal() -> list[str]:
    """The exporter's own last words, without what systemd says of it."""
    only = [f"_SYSTEMD_UNIT={UNIT}", "_TRANSPORT=stdout"]
    return ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "5", *only]


def as_root(text: str) -> Iterator[list[str]]:
    """The commands behind each `sudo -n` in a line of shell."""
    tokens = [
        shlex.split(token)[0] if _QUOTED.search(token) else token for token in _TOKEN.findall(text)
    ]
    for at, token in enumerate(tokens):
        if token == "sudo" and tokens[at + 1 : at + 2] == ["-n"]:  # noqa: S105
            rest = tokens[at + 2 :]
            end = next((n for n, t in enumerate(rest) if t and set(t) <= set("();<>|&")), len(rest))
            yield rest[:end]


def _texts(made: Plan) -> Iterator[str]:
    for step in made.steps:
        yield step.command
        yield step.undo or ""


def _plans(wanted: Wanted, facts: Facts) -> Iterator[Plan]:
    macs = {(link.segment, p.node): _MAC for link in wanted.links for p in link.peers}
    bundle = Bundle(b"", b"", Identity(b"", b"", b""), macs)
    for seen in _variants(wanted, facts):
        yield plan(wanted, seen, files(wanted, facts, bundle), macs=macs)
        yield removal(wanted, seen)


def _variants(wanted: Wanted, facts: Facts) -> Iterator[Facts]:
    """A bare node, and nodes on which everything there can be is there and differs."""
    links = [
        (link.profile, port)
        for link in wanted.links
        if (port := facts.interface(link.profile.interface, link.profile.mac))
    ]
    for key, value in ((k, v) for s in (DEFAULTS, facts.sysctl) for k, v in s.items()):
        ports = tuple(evolve(port, up=True, carrier=True) for _, port in links)
        off = {**DEFAULTS, key: value}
        yield evolve(
            facts,
            files={},
            stored={},
            applied={},
            sysctl=off,
            interfaces=ports,
            service=_SERVICE,
            fence=Fence(),
            static=(),
            permanent=(),
        )
    different = {p.uuid: evolve(p, addresses=(IPv4Interface("0.0.0.1/32"),)) for p, _ in links}
    everything = evolve(
        facts,
        interfaces=tuple(evolve(port, up=True, carrier=True) for _, port in links),
        connections=(
            Connection("DUPLICATE", f"{PREFIX}again", "", ETHERNET),
            *(Connection(p.uuid, p.name, port.name, ETHERNET) for p, port in links),
        ),
        stored=different,
        applied={port.name: different[p.uuid] for p, port in links},
        files={path: File("", 0) for path in (*PATHS, *LEFTOVERS)},
        folder=_folders(),
        setters=dict.fromkeys(DEFAULTS, (SYSCTL_FILE,)),
        sysctl={"net.ipv4.ip_forward": "1", "net.ipv4.ping_group_range": "0 1"},
        service=Service(active=True, enabled=True, reload_needed=True, started=1),
        fence=Fence(active=True, enabled=True, reload_needed=True, live=("other",)),
        static=_neighbours(wanted, facts),
        permanent=_neighbours(wanted, facts),
    )
    yield everything
    other = {uuid: evolve(p, kind="other") for uuid, p in different.items()}
    yield evolve(
        everything,
        stored=other,
        service=evolve(everything.service, active=False),
        fence=evolve(everything.fence, active=False),
    )


def _neighbours(wanted: Wanted, facts: Facts) -> tuple[StaticNeighbour, ...]:
    """Entries for all peers, and all of earlier."""
    peers = tuple(
        StaticNeighbour(peer.address, "", port.name)
        for link in wanted.links
        if (port := facts.interface(link.profile.interface, link.profile.mac))
        for peer in link.peers
    )
    return tuple(evolve(n, mac=_MAC) for n in (*peers, *facts.static))


_SERVICE = Service(active=False, enabled=False, reload_needed=False, started=None)


def _folders() -> tuple[str, ...]:
    parents = {p.rpartition("/")[0] for p in PATHS if p.startswith(f"{DIRECTORY}/")}
    return tuple(sorted({DIRECTORY, *parents}))


def _anybody(wanted: Wanted) -> Facts:
    """A node about which nothing is known but what the cluster file says."""
    return Facts(
        user="",
        uid=1,
        sudo=False,
        ssh_address=None,
        interfaces=tuple(
            Interface(p.interface or "PORT", p.mac or "", True, True, ())
            for p in (link.profile for link in wanted.links)
        ),
        routes=(),
        nm_running=True,
        programs={name: name for name in PROGRAMS},
    )


def _arguments(words: list[str]) -> Iterator[str]:
    """The arguments as sudoers(5) writes them: joined by spaces, special characters escaped."""
    text = " ".join(words)
    text = re.sub(r"[\\,:=*?\[\]!#^]", r"\\\g<0>", text)
    text = re.sub(r"(?<= ) ", r"\\ ", text)  # one space stands for any number of them
    if _MAC in words:
        text = text.replace(_MAC.replace(":", r"\:"), _SOME_MAC)
    places = (("SECONDS", _SECONDS), ("CHECKPOINT", _CHECKPOINTS), ("DUPLICATE", [_SOME_UUID]))
    for place, patterns in places:
        if place in words:
            yield from (text.replace(place, pattern) for pattern in patterns)
            return
    yield text or '""'
