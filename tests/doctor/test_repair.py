"""Which nodes setup is asked about, and when a repair has been seen. The repair itself runs on the
emulated cluster (tests/lab/test_doctor.py)."""

import pytest
from attrs import evolve

from smolmon.commands.credentials import credentials_of
from smolmon.doctor import repair
from smolmon.observe.exporters import tls
from smolmon.setup.trust import TrustError
from smolmon.setup.trust.store import identities
from tests.alerts.scenarios import GUIDE, SCENARIOS
from tests.doctor.test_by_exporters import examined

BY_NAME = {s.name: s for s in SCENARIOS}


def names(scenario):
    found = examined(BY_NAME[scenario])
    return [node.name for node in repair.reachable(GUIDE, found.findings)]


@pytest.mark.parametrize(
    ("scenario", "asked"),
    [
        ("forwarding-off", ["mini3"]),
        ("worker-silent", ["mini3", "pi4"]),  # its exporter is dead, its ssh server is not
        ("worker-dead", []),
        ("wifi-out", []),
        ("wifi-out-everywhere", []),
        ("internet-out", []),
        ("server-answers-nobody", []),  # a symptom says where it hurts, not where to repair
    ],
)
def test_only_nodes_with_a_cause_that_can_be_talked_to(scenario, asked):
    assert names(scenario) == asked


def test_nothing_is_asked_of_nobody():
    assert repair.known(GUIDE, [], b"") == repair.Known({}, ())


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where somebody sleeps."""
    now = [0.0]
    monkeypatch.setattr(repair.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(repair.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    return now


def settled(before, afters, nodes=("mini3",)):
    looks = iter(afters)
    last = [before]

    def look():
        last[0] = next(looks, last[0])
        return last[0]

    return repair.settled(look, before, nodes, lambda _: None)


def test_it_looks_until_the_repaired_node_is_well(clock):
    broken, well = (examined(BY_NAME[n]) for n in ("forwarding-off", "healthy"))
    assert settled(broken, [broken, broken, well]) is well
    assert clock[0] == 2 * repair.PAUSE


def test_what_is_wrong_elsewhere_is_not_waited_for(clock):
    broken = examined(BY_NAME["forwarding-off"])
    assert settled(broken, [broken], nodes=["pi4"]) is broken
    assert clock[0] == 0


def test_what_a_repair_stirs_up_is_waited_for(clock):
    broken, stirred, well = (
        examined(BY_NAME[n]) for n in ("forwarding-off", "switch-hangs", "healthy")
    )
    assert settled(broken, [stirred, well]) is well


def test_it_ends_where_nothing_changes(clock):
    broken = examined(BY_NAME["forwarding-off"])
    assert settled(broken, [broken]) is broken
    assert repair.STEADY < clock[0] <= repair.STEADY + 2 * repair.PAUSE


def test_it_ends_where_everything_changes_for_ever(clock):
    broken, other = (examined(BY_NAME[n]) for n in ("forwarding-off", "address-lost"))
    settled(broken, [broken, other] * 1000)
    assert clock[0] <= repair.PATIENCE + 2 * repair.PAUSE


def test_prometheus_certificate_is_used_and_never_renewed_here():
    cluster = evolve(GUIDE, name="own")
    with pytest.raises(TrustError, match="smolmon setup"):
        credentials_of(cluster)
    identities(cluster, [])
    files = credentials_of(cluster)
    assert tls(files)
    before = files.certificate.read_bytes()
    files.key.unlink()  # render would make both anew
    assert credentials_of(cluster) == files
    assert files.certificate.read_bytes() == before
