"""Faults of a network that looks right: firewalls, listeners, loss, routes too many."""

from __future__ import annotations

import sys
from contextlib import suppress

from smolmon.cluster import Cluster, derive
from smolmon.lab.errors import LabError
from smolmon.lab.fault import Fault, Record, in_namespace, ip, nothing, on_machine
from smolmon.lab.faults_ports import device, home_of

FIREWALL = "fault_firewall"
LOSS = "fault_loss"
LOST_ONE_IN = 33  # packets: 3 %
LISTENER = "smolmon-fault-listener"
# Keeps the port, and answers nobody; for an hour at most.
LISTEN = """\
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen()
time.sleep(3600)
"""


TRAINING = 7  # seconds: a scrape each five
TRAIN = """\
import socket, sys, time
end = time.monotonic() + 5
while True:
    try:
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.1)
time.sleep(float(sys.argv[3]))
"""


def _server(cluster: Cluster) -> tuple[str, ...]:
    return (cluster.server.node,)


def _workers(cluster: Cluster) -> tuple[str, ...]:
    return tuple(
        n.name for n in reversed(cluster.nodes) if derive.role(cluster, n.name) == "worker"
    )


def _tables(node: str, name: str, *rules: str) -> None:
    """Give the machine the nft table `name` with these rules in place of the one it has."""
    fresh = [f"add table inet {name}", f"delete table inet {name}"]
    on_machine(node, ["nft", "\n".join([*fresh, *rules])])


# -- firewalls ----------------------------------------------------------------------------------


def _firewall(cluster: Cluster, node: str, verdict: str) -> None:
    _tables(
        node,
        FIREWALL,
        f"add table inet {FIREWALL}",
        f"add chain inet {FIREWALL} in {{ type filter hook input priority -10; }}",
        f"add rule inet {FIREWALL} in tcp dport {cluster.server.port} {verdict}",
    )


def _drop(cluster: Cluster, node: str, record: Record) -> None:
    _firewall(cluster, node, "drop")


def _reject(cluster: Cluster, node: str, record: Record) -> None:
    _firewall(cluster, node, "reject with icmpx type admin-prohibited")


def _open(cluster: Cluster, node: str, record: Record) -> None:
    _tables(node, FIREWALL)


# -- the training server ------------------------------------------------------------------------


def _listen(cluster: Cluster, node: str, address: str) -> None:
    command = ["systemd-run", "--quiet", "--collect", f"--unit={LISTENER}"]
    on_machine(node, [*command, "python3", "-c", LISTEN, address, str(cluster.server.port)])


def _listen_elsewhere(cluster: Cluster, node: str, record: Record) -> None:
    _listen(cluster, node, "127.0.0.1")


def _listen_everywhere(cluster: Cluster, node: str, record: Record) -> None:
    _listen(cluster, node, "0.0.0.0")  # noqa: S104 - that is the fault


def _stop_listening(cluster: Cluster, node: str, record: Record) -> None:
    with suppress(LabError):  # gone already where it was repaired
        on_machine(node, ["systemctl", "stop", LISTENER])


def _train_and_stop(cluster: Cluster, node: str, record: Record) -> None:
    """Serve one client, until every scrape of a connection can have been; then end both."""
    where = [str(cluster.server_address), str(cluster.server.port)]
    _listen(cluster, node, str(cluster.server_address))
    # From the host: a node may be a Mac, and have no such tools.
    client = next(iter(_workers(cluster)), node)
    in_namespace(client, [sys.executable, "-c", TRAIN, *where, str(TRAINING)])
    _stop_listening(cluster, node, record)


# -- loss ---------------------------------------------------------------------------------------


def _lose(cluster: Cluster, node: str, record: Record) -> None:
    home = home_of(cluster, node)
    # At random: counted, it would be the same probe's packet again and again.
    match = f'iifname "{device(cluster, node, home)}" numgen random mod {LOST_ONE_IN} 0'
    _tables(
        node,
        LOSS,
        f"add table inet {LOSS}",
        f"add chain inet {LOSS} in {{ type filter hook prerouting priority -400; }}",
        f"add rule inet {LOSS} in {match} drop",
    )


def _lose_nothing(cluster: Cluster, node: str, record: Record) -> None:
    _tables(node, LOSS)


# -- routes -------------------------------------------------------------------------------------


def _overrule(cluster: Cluster, node: str, record: Record) -> None:
    ip(node, "route", "add", "blackhole", f"{cluster.server_address}/32")


def _obey(cluster: Cluster, node: str, record: Record) -> None:
    with suppress(LabError):
        ip(node, "route", "delete", "blackhole", f"{cluster.server_address}/32")


def _isolated(cluster: Cluster) -> tuple[str, ...]:
    return tuple(n for n in _workers(cluster) if derive.isolation(cluster, n))


def _beside(cluster: Cluster, node: str) -> tuple[str, ...]:
    """The other side: it finds that it reaches `node`, too."""
    return (derive.isolation(cluster, node)[0].target,)


def _ways_across(cluster: Cluster, node: str) -> Record:
    """Routes for `node` and the one that it must not reach, each through its own gateway."""
    check = derive.isolation(cluster, node)[0]
    found = []
    for here, there in ((node, check.target), (check.target, node)):
        mine, theirs = home_of(cluster, here), home_of(cluster, there)
        gateway = derive.gateway_of(cluster, mine.name) or here
        via = cluster.address(gateway, mine.name)
        found.append([here, f"{theirs.subnet} via {via} dev {device(cluster, here, mine)}"])
    return found


def _cross(cluster: Cluster, node: str, record: Record) -> None:
    for here, route in record:
        ip(here, "route", "add", *route.split())


def _stay_apart(cluster: Cluster, node: str, record: Record) -> None:
    for here, route in record:
        with suppress(LabError):
            ip(here, "route", "delete", *route.split())


FAULTS = (
    Fault(
        "firewall-drop",
        "the server drops connections to the training port",
        "SmolmonTrainingPortFiltered",
        _server,
        nothing,
        _drop,
        _open,
    ),
    Fault(
        "firewall-reject",
        "the server turns connections to the training port away",
        "SmolmonTrainingPortFiltered",
        _server,
        nothing,
        _reject,
        _open,
    ),
    Fault(
        "server-elsewhere",
        "the training server listens at a wrong address",
        "SmolmonTrainingServerElsewhere",
        _server,
        nothing,
        _listen_elsewhere,
        _stop_listening,
    ),
    Fault(
        "server-stopped",
        "the training server ends while a worker is connected",
        "SmolmonTrainingServerStopped",
        _server,
        nothing,
        _train_and_stop,
        _stop_listening,
    ),
    Fault(
        "server-exposed",
        "the training server listens at every address",
        "SmolmonTrainingServerExposed",
        _server,
        nothing,
        _listen_everywhere,
        _stop_listening,
    ),
    Fault(
        "packet-loss",
        "a worker loses 3 % of what it receives",
        "SmolmonPacketLoss",
        _workers,
        nothing,
        _lose,
        _lose_nothing,
    ),
    Fault(
        "route-overruled",
        "a worker has the declared route, and another for the server that wins",
        "SmolmonRouteOverruled",
        _workers,
        nothing,
        _overrule,
        _obey,
    ),
    Fault(
        "isolation-broken",
        "extra routes join two edge segments",
        "SmolmonIsolationBroken",
        _isolated,
        _ways_across,
        _cross,
        _stay_apart,
        also=_beside,
    ),
)
