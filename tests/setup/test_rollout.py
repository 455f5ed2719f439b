"""Waves of real coroutines, on machines that only keep a diary."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmon.cluster import Node, Platform
from smolmon.setup import rollout as module
from smolmon.setup.apply import ApplyError
from smolmon.setup.rollout import rollout
from smolmon.setup.steps import Plan, Step
from smolmon.setup.survey import Target

STEP = (Step("change", "why"),)
WAVES = (("a", "b"), ("c",), ("d", "e"))


@pytest.fixture
def diary(monkeypatch):
    """What was done in which order; the parts named in `broken` fail."""
    return played(monkeypatch.setattr)


def played(replace):
    done: list[str] = []
    broken: set[str] = set()

    def part(what: str):
        async def change(target, *rest):
            if not getattr(target.plan, what):
                return
            name = f"{target.node.name} {what}"
            done.append(f"{name} begins")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if name in broken:
                raise ApplyError(f"{target.node.name}: {what} broke")
            done.append(f"{name} ends")

        return change

    replace(module, "change_network", part("network"))
    replace(module, "change_system", part("system"))
    return done, broken


def run(plans: dict[str, Plan]) -> dict[str, str]:
    targets = {
        name: Target(Node(name, Platform.LINUX, name, name), *[None] * 3, plan, None)
        for name, plan in plans.items()
    }
    told: list[str] = []
    failed = asyncio.run(rollout(targets, WAVES, told.append, told.append, 90))
    assert sorted(told) == sorted(failed.values())
    return failed


BOTH = Plan(STEP, STEP)


def test_networks_wait_for_earlier_waves_and_nothing_else_does(diary):
    done, _ = diary
    assert run(dict.fromkeys("abcde", BOTH)) == {}
    at = {line: n for n, line in enumerate(done)}
    for earlier, later in (("a", "c"), ("b", "c"), ("c", "d"), ("c", "e")):
        assert at[f"{earlier} network ends"] < at[f"{later} network begins"]
    for name in "cde":  # begun before any network was through
        assert at[f"{name} system begins"] < at["a network ends"]
    for name in "ab":
        assert at[f"{name} network ends"] < at[f"{name} system begins"]


def test_a_failure_leaves_later_waves_untouched_and_says_so(diary):
    done, broken = diary
    broken.add("b network")
    failed = run(dict.fromkeys("abcde", BOTH))
    assert failed == {
        "b": "b: network broke",
        **{n: f"{n}: its network was left untouched, because of b" for n in "cde"},
    }
    assert "a network ends" in done
    assert not any(line.startswith(("c network", "d network", "e network")) for line in done)
    assert "b system begins" not in done  # nothing is installed where the network failed


def test_what_breaks_while_it_waits_stops_the_waves_after_it(diary):
    _, broken = diary
    broken.add("c system")
    failed = run(dict.fromkeys("abcde", BOTH))
    assert failed["c"] == "c: system broke; its network was left untouched"
    assert failed["d"] == "d: its network was left untouched, because of c"
    assert set(failed) == {"c", "d", "e"}


def test_a_wave_with_nothing_to_do_is_no_wave(diary):
    done, _ = diary
    assert run({"a": Plan((), STEP), "d": BOTH, "e": Plan(STEP)}) == {}
    assert "d network ends" in done


PARTS = st.builds(Plan, st.sampled_from([(), STEP]), st.sampled_from([(), STEP]))


@given(
    st.dictionaries(st.sampled_from("abcde"), PARTS),
    st.sets(st.sampled_from([f"{n} {p}" for n in "abcde" for p in ("network", "system")])),
)
@settings(max_examples=100, deadline=None)
def test_it_ends_and_no_wave_follows_a_failure(plans, breaks):
    with pytest.MonkeyPatch.context() as patch:
        done, broken = played(patch.setattr)
        broken |= breaks
        failed = run(plans)
    begun = [line.split()[0] for line in done if line.endswith("network begins")]
    for number, wave in enumerate(WAVES):
        if any(f"{n} network" in breaks and n in begun for n in wave):
            assert not any(n in begun for later in WAVES[number + 1 :] for n in later)
    for name, plan in plans.items():
        complete = all(
            f"{name} {p} ends" in done for p in ("network", "system") if getattr(plan, p)
        )
        assert (name in failed) != complete
