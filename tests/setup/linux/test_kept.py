"""What would come back after a boot, beside what is live."""

from __future__ import annotations

import pytest
from attrs import evolve

from smolmon.setup.linux.facts import Facts
from smolmon.setup.linux.kept import kept
from smolmon.setup.looks import Kept
from tests.setup.linux.test_plan import link_down, lose_address, lose_routes, stopped
from tests.setup.material import installed, want


def bad(node: str, facts: Facts) -> dict[str, Kept]:
    return {row.what: row for row in kept(want(node), facts) if row.reason}


@pytest.mark.parametrize("node", ["mini1", "pi5"])
def test_a_provisioned_node_would_come_back_as_it_is(node):
    assert bad(node, installed(node)) == {}
    assert len(kept(want(node), installed(node))) == (5 if node == "mini1" else 3)


def stored(facts: Facts, **changes: object) -> Facts:
    (uuid,) = want("pi5").uuids
    return evolve(facts, stored={uuid: evolve(facts.stored[uuid], **changes)})


FORWARD = "net.ipv4.ip_forward"
UNIT = "smolmon-exporter.service"


@pytest.mark.parametrize(
    ("node", "change", "what", "said"),
    [
        ("pi5", lambda f: stored(f, routes=()), "profile smolmon-edge50", "the two differ"),
        ("pi5", lambda f: stored(f, autoconnect=False), "profile smolmon-edge50", "not start at"),
        ("pi5", lambda f: evolve(f, stored={}), "profile smolmon-edge50", "nothing sets it up"),
        ("pi5", lambda f: lose_routes(f, "pi5"), "profile smolmon-edge50", "the two differ"),
        ("pi5", lambda f: lose_address(f, "pi5"), "profile smolmon-edge50", "the two differ"),
        ("pi5", lambda f: stopped(f, "pi5"), UNIT, "puts it right"),
        (
            "pi5",
            lambda f: evolve(f, kept={}),
            "net.ipv4.ping_group_range",
            "they differ",
        ),
        ("mini1", lambda f: evolve(f, setters={}), FORWARD, "they differ"),
        ("mini1", lambda f: evolve(f, sysctl={**f.sysctl, FORWARD: "0"}), FORWARD, "they differ"),
        (
            "mini1",
            lambda f: evolve(f, service=evolve(f.service, enabled=False)),
            UNIT,
            "puts it right",
        ),
        (
            "mini1",
            lambda f: evolve(f, service=evolve(f.service, reload_needed=True)),
            UNIT,
            "it differs",
        ),
    ],
)
def test_each_difference_is_named(node, change, what, said):
    found = bad(node, change(installed(node)))
    assert list(found) == [what]
    assert said in found[what].reason


def test_a_cable_that_is_out_is_no_difference():
    facts = link_down(installed("pi5"), "pi5")
    port = evolve(facts.interface("eth0"), up=True, carrier=False)
    facts = evolve(facts, interfaces=(port,))
    assert bad("pi5", facts) == {}
