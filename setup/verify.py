"""The network guide's Part 3: what every node must and must not reach, expected against seen.

Each node is asked once, by one script; its pings run side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from ipaddress import IPv4Address

from attrs import frozen

from smolmon.cluster import Cluster, Node, derive
from smolmon.cluster.derive import Isolation, Probe, ProbeKind, Purpose, Route
from smolmon.setup.errors import FactsError
from smolmon.setup.looks import Hop, Kept, Ping, parse_ping
from smolmon.setup.shell import lines, sections
from smolmon.setup.ssh import Runner, SshError
from smolmon.setup.survey import gather
from smolmon.setup.system import System, UnsupportedError, system_of
from smolmon.setup.together import together

_TIMEOUT = 20.0  # seconds for a whole node, which needs about one


@frozen
class Pace:
    """How many echo requests go to each address, and how many seconds the last is waited for."""

    count: int
    wait: float


CAREFUL = Pace(3, 1.0)
# After setup has seen every setting as wanted. A wire answers in milliseconds: the first request
# is waited for 0.3 s.
QUICK = Pace(2, 0.1)


class Verdict(str, Enum):
    """How a check came out. Inconclusive: it proves nothing, because its control failed too."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@frozen
class Check:
    """One line of the table."""

    node: str
    what: str
    expected: str
    seen: str
    verdict: Verdict
    reason: str = ""


@frozen
class Seen:
    """What a node showed, in the order of its probes, routes and isolation pairs."""

    probes: tuple[Ping, ...]
    routes: tuple[Hop | None, ...]
    ports: tuple[str, ...]  # the interface of each route's link
    isolation: tuple[tuple[Ping, Ping], ...]  # the target, its control
    forwarding: bool
    training: str = ""  # `open`, `refused` or `silent`: the training port, where it is asked


# -- asking a node ------------------------------------------------------------------------------


def script(cluster: Cluster, node: str, system: System, pace: Pace = CAREFUL) -> str:
    """Everything that is checked on `node`, as one read-only script."""
    count, wait = pace.count, pace.wait
    segments = cluster.segments_of(node)
    port = {segment.name: f"port{number}" for number, segment in enumerate(segments)}
    pings = [
        _ping(f"probe {number}", system.ping(probe.address, count, wait=wait))
        for number, probe in enumerate(derive.probes(cluster, node))
    ]
    for number, pair in enumerate(derive.isolation(cluster, node)):
        bound = f'"${port[pair.link]}"'
        pings.append(_ping(f"target {number}", system.ping(pair.address, count, bound, wait)))
        pings.append(_ping(f"control {number}", system.ping(pair.control, count, bound, wait)))
    if _server_probe(cluster, node):
        attempt = system.connect(cluster.server_address, cluster.server.port)
        pings.append(f"( out=$({attempt}); printf '@@training\\n%s\\n' \"$out\" ) &")
    return lines(
        [
            f"echo @@forwarding; {system.forwarding()}",
            *(
                f"{port[segment.name]}={system.port(member)}"
                for segment in segments
                if (member := segment.member(node))
            ),
            *(
                f'echo "@@port {number} ${port[route.link]}"; echo "@@route {number}"; '
                + system.route(_host_of(cluster, route))
                for number, route in enumerate(derive.routes(cluster, node))
            ),
            *pings,
            "wait",
        ]
    )


def _server_probe(cluster: Cluster, node: str) -> Probe | None:
    return next((p for p in derive.probes(cluster, node) if p.kind is ProbeKind.SERVER), None)


def _ping(label: str, command: str) -> str:
    # One write for each, so that they do not mix.
    return f"( out=$({command} 2>&1); printf '@@ping {label}\\n%s\\n' \"$out\" ) &"


def _host_of(cluster: Cluster, route: Route) -> IPv4Address:
    """An address at the far end of `route`."""
    return cluster.segment(route.to).members[0].address


def parse(cluster: Cluster, node: str, system: System, out: str) -> Seen:
    """Read what the script printed. Raises ValueError where a part is missing."""
    blocks = sections(out)
    text = {(name, argument): block for name, argument, block in blocks}

    def part(name: str, argument: str = "") -> str:
        if (name, argument) not in text:
            raise ValueError(f"it lacks the part `{f'{name} {argument}'.strip()}`")
        return text[name, argument]

    def ping(label: str) -> Ping:
        return parse_ping(part("ping", label))

    ports = [a.partition(" ")[2] for name, a, _ in blocks if name == "port"]
    routes = len(derive.routes(cluster, node))
    if len(ports) != routes:
        raise ValueError(f"it names {len(ports)} interfaces for {routes} routes")
    return Seen(
        probes=tuple(ping(f"probe {n}") for n in range(len(derive.probes(cluster, node)))),
        routes=tuple(system.hop(part("route", str(n))) for n in range(routes)),
        ports=tuple(ports),
        isolation=tuple(
            (ping(f"target {n}"), ping(f"control {n}"))
            for n in range(len(derive.isolation(cluster, node)))
        ),
        forwarding=part("forwarding").strip() == "1",
        training=part("training").strip() if _server_probe(cluster, node) else "",
    )


# -- judging ------------------------------------------------------------------------------------


async def verify(
    cluster: Cluster,
    nodes: Sequence[Node],
    runners: Mapping[str, Runner],
    pace: Pace = CAREFUL,
    progress: Callable[[str], object] = str,
) -> tuple[list[Check], list[str]]:
    """Ask all of `nodes` at once. The checks, and one line for each node that did not answer.

    `progress` gets a line when a node has answered.
    """
    began = time.monotonic()

    async def one(node: Node) -> Seen | str:
        try:
            system = system_of(cluster, node)
            text = script(cluster, node.name, system, pace)
            result = await runners[node.name].run(text, _TIMEOUT)
            progress(f"{node.name}: answered ({time.monotonic() - began:.1f} s)")
            return parse(cluster, node.name, system, result.out)
        except (SshError, UnsupportedError) as error:
            return str(error)
        except ValueError as error:
            return f"{node.name}: its checks cannot be read: {error}; run `smolmon verify` again"

    found = await together(one, nodes)
    answers = dict(zip([node.name for node in nodes], found, strict=True))
    seen = {name: answer for name, answer in answers.items() if isinstance(answer, Seen)}
    return judge(cluster, seen), [a for a in answers.values() if isinstance(a, str)]


async def verify_stored(
    cluster: Cluster, nodes: Sequence[Node], runners: Mapping[str, Runner]
) -> tuple[list[Check], list[str]]:
    """Compare what each node keeps for its next boot with what is live; needs no boot.

    The checks, and one line for each node that did not answer.
    """

    async def one(node: Node) -> list[Kept] | str:
        try:
            return (await gather(system_of(cluster, node), runners[node.name])).stored()
        except (SshError, UnsupportedError) as error:
            return str(error)
        except FactsError as error:
            return f"{node.name}: {error}"

    found = dict(zip([n.name for n in nodes], await together(one, nodes), strict=True))
    checks = [
        Check(
            name,
            kept.what,
            kept.stored,
            kept.live,
            Verdict.FAIL if kept.reason else Verdict.PASS,
            kept.reason,
        )
        for name, answer in found.items()
        if not isinstance(answer, str)
        for kept in answer
    ]
    return checks, [answer for answer in found.values() if isinstance(answer, str)]


def judge(cluster: Cluster, seen: Mapping[str, Seen]) -> list[Check]:
    """Compare what the nodes showed with what the cluster file asks. Pure."""
    return [check for name in seen for check in _checks(cluster, name, seen)]


def _checks(cluster: Cluster, node: str, seen: Mapping[str, Seen]) -> Iterator[Check]:
    mine = seen[node]
    for route, hop, port in zip(derive.routes(cluster, node), mine.routes, mine.ports, strict=True):
        yield _route(route, hop, port)
    if node in derive.gateways(cluster):
        verdict = Verdict.PASS if mine.forwarding else Verdict.FAIL
        reason = (
            ""
            if mine.forwarding
            else "it drops what is not for itself; `smolmon setup` turns it on"
        )
        yield Check(node, "forwarding", "on", "on" if mine.forwarding else "off", verdict, reason)
    for probe, ping in zip(derive.probes(cluster, node), mine.probes, strict=True):
        what = f"{probe.kind.value} {probe.target}"
        if probe.kind is ProbeKind.INTERNET:
            what = "internet"
        verdict, reason = Verdict.PASS, ""
        if not ping.sent:
            verdict, reason = Verdict.INCONCLUSIVE, _known(cluster, probe, seen) or _NOT_SENT
        elif not ping.answers:
            verdict, reason = Verdict.FAIL, _why(cluster, probe, seen)
        elif probe.kind is not ProbeKind.INTERNET and ping.hops not in (None, _hops(probe)):
            verdict, reason = Verdict.FAIL, "the answers took another way: `traceroute` shows which"
        expected, said = "answers", str(ping)
        if probe.kind is not ProbeKind.INTERNET:
            expected += _passed(_hops(probe))
            if ping.answers and ping.hops is not None:
                said += _passed(ping.hops)
        yield Check(node, f"ping {what} {probe.address}", expected, said, verdict, reason)
        if probe.kind is ProbeKind.SERVER:
            yield _training(cluster, probe, ping, mine.training)
    pairs = zip(derive.isolation(cluster, node), mine.isolation, strict=True)
    for pair, (target, control) in pairs:
        yield _isolated(pair, target, control)


def _hops(probe: Probe) -> int:
    """The gateways that pass packets on; the target itself only takes them in."""
    return len([name for name in probe.gateways if name != probe.target])


def _passed(hops: int) -> str:
    return "" if not hops else f" through {hops} gateway{'s' if hops > 1 else ''}"


def _training(cluster: Cluster, probe: Probe, ping: Ping, said: str) -> Check:
    """Whether the training server takes connections: that none runs now is no fault."""
    seen = {"open": "accepts", "refused": "nothing listens"}.get(said, "no answer")
    verdict, reason = Verdict.PASS, ""
    if seen == "no answer" and ping.answers:
        verdict, reason = Verdict.FAIL, f"a firewall on {probe.target} drops what it is sent"
    elif seen == "no answer":
        verdict, reason = Verdict.INCONCLUSIVE, "it does not answer pings either"
    what = f"connect {probe.target} {probe.address}:{cluster.server.port}"
    return Check(probe.node, what, "accepts, or nothing listens", seen, verdict, reason)


_NOT_SENT = "no request was sent, so it proves nothing about the link"


def _route(route: Route, hop: Hop | None, port: str) -> Check:
    right = hop == Hop(port, route.via)
    return Check(
        route.node,
        f"route {route.destination} ({route.purpose.value})",
        f"via {route.via} dev {port}",
        "no route" if hop is None else str(hop),
        Verdict.PASS if right else Verdict.FAIL,
        "" if right else "packets would take another way; `smolmon setup` puts it right",
    )


def _isolated(pair: Isolation, target: Ping, control: Ping) -> Check:
    if target.answers:
        verdict, reason = Verdict.FAIL, "some node passes these packets on; it must not"
    elif not target.sent:
        verdict, reason = Verdict.INCONCLUSIVE, _NOT_SENT
    elif not control.sent:
        verdict = Verdict.INCONCLUSIVE
        reason = f"its control, a ping of {pair.control}, did not run: {control}"
    elif not control.answers:
        verdict = Verdict.INCONCLUSIVE
        reason = f"{pair.control} does not answer over {pair.link} either"
    else:
        verdict, reason = Verdict.PASS, ""
    return Check(
        pair.node,
        f"ping {pair.target} {pair.address} over {pair.link}",
        "no answer",
        str(target),
        verdict,
        reason,
    )


def _why(cluster: Cluster, probe: Probe, seen: Mapping[str, Seen]) -> str:
    """The first thing on the way there and back that is known to be wrong, else where to look."""
    if probe.kind is ProbeKind.INTERNET:
        return "look at its Wi-Fi and the router"
    return _known(cluster, probe, seen) or _silent(cluster, probe, seen)


def _known(cluster: Cluster, probe: Probe, seen: Mapping[str, Seen]) -> str | None:
    """The first thing on the way there and back that is known to be wrong."""
    if probe.kind is ProbeKind.INTERNET:
        return None
    subnet = next((s for s in cluster.routed if probe.address in s.subnet), None)
    way = [probe.node, *probe.gateways, probe.target]
    back = cluster.segment(probe.link).subnet
    for name in dict.fromkeys(way):
        if name not in seen:
            continue
        theirs = seen[name]
        for route, hop, port in zip(
            derive.routes(cluster, name), theirs.routes, theirs.ports, strict=True
        ):
            there = subnet is not None and route.destination == subnet.subnet
            if (there or route.destination == back) and hop != Hop(port, route.via):
                kind = "return route" if route.purpose is Purpose.RETURN else "route"
                return f"{name} lacks the {kind} {route.destination} via {route.via}"
        if name in probe.gateways and not theirs.forwarding:
            return f"{name} does not forward"
    return None


def _silent(cluster: Cluster, probe: Probe, seen: Mapping[str, Seen]) -> str:
    """Routes and forwarding are right as far as is known: the link itself, or the target."""
    first = probe.gateways[0] if probe.gateways else probe.target
    mine = zip(derive.probes(cluster, probe.node), seen[probe.node].probes, strict=True)
    dead = any(
        p.link == probe.link and p.target == first and ping.sent and not ping.answers
        for p, ping in mine
    )
    if dead or first == probe.target:
        return f"nothing comes back over {probe.link}: its cable, its port, or {first} itself"
    return f"{first} answers, what is behind it does not: look at {probe.target} and its links"
