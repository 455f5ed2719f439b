"""A plan in a file: what it holds, when it is refused."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmon.setup.report import plan_data
from smolmon.setup.saved import Saved, SavedError, differences, digest, read, write
from smolmon.setup.steps import Plan, Step

TEXT = st.text(max_size=10)
STEPS = st.lists(
    st.builds(Step, TEXT, TEXT, st.none() | TEXT, st.none() | st.binary(max_size=10)), max_size=3
).map(tuple)
PLANS = st.dictionaries(TEXT, st.builds(Plan, STEPS, STEPS), max_size=3)


def saved(plans: dict[str, Plan]) -> Saved:
    nodes = {name: plan_data(plan) for name, plan in plans.items()}
    return Saved("guide", digest(b"file"), False, True, nodes)


@given(PLANS)
@settings(deadline=None)
def test_what_is_written_is_read_and_is_no_difference(tmp_path_factory, plans):
    file = tmp_path_factory.mktemp("plan") / "plan.json"
    write(file, saved(plans))
    assert read(file) == saved(plans)
    assert list(differences(read(file), plans)) == []
    assert [p.name for p in file.parent.iterdir()] == ["plan.json"]


def test_it_holds_no_content(tmp_path):
    secret = b"-----BEGIN PRIVATE KEY-----"
    write(tmp_path / "p", saved({"a": Plan((), (Step("install", "why", "rm", secret),))}))
    assert "PRIVATE" not in (tmp_path / "p").read_text()
    assert digest(secret) in (tmp_path / "p").read_text()


ONE = Step("nmcli up", "it is down", None)
FILE = Step("install x", "it is not installed", "rm x", b"one")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Plan((evolve(ONE, command="nmcli add"),), (FILE,)), "network step 1 was `nmcli up`"),
        (Plan((evolve(ONE, why="another"),), (FILE,)), "and is now `nmcli up` (another)"),
        (Plan((), (FILE,)), "network step 1, `nmcli up`, is not needed any more"),
        (Plan((ONE, ONE), (FILE,)), "there is one network step more: `nmcli up`"),
        (Plan((ONE,), (evolve(FILE, content=b"two"),)), "`install x`, has another content now"),
        (Plan((ONE,), (evolve(FILE, undo="mv y x"),)), "`install x`, has another inverse now"),
    ],
)
def test_each_change_is_one_line(now, said):
    (line,) = differences(saved({"pi5": Plan((ONE,), (FILE,))}), {"pi5": now})
    assert line.startswith("pi5: ")
    assert said in line
    assert "\n" not in line


def test_a_node_that_cannot_be_planned_is_a_difference():
    assert list(differences(saved({"pi5": Plan()}), {})) == ["pi5: it cannot be planned for now"]


def altered(**changes: object) -> str:
    data = {
        "smolmon": "plan",
        "version": 1,
        "cluster": "c",
        "cluster_file_sha256": "",
        "only_network": False,
        "remove": False,
        "nodes": {},
    }
    return json.dumps({**data, **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "this is not a saved plan"),
        ("[" * 100_000, "this is not a saved plan"),
        ("[]", "this is not a saved plan"),
        (altered(version=2), "another version of smolmon"),
        (altered(nodes=[]), "this plan is not complete"),
        (altered(nodes={"a": {"network": [1], "system": []}}), "this plan is not complete"),
        (altered(remove="yes"), "this plan is not complete"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_plan_is_one_line(tmp_path, text, said):
    file = tmp_path / "plan"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SavedError, match=said) as error:
        read(file)
    assert "\n" not in str(error.value)


def test_where_it_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(SavedError, match="cannot be written"):
        write(tmp_path / "nowhere" / "plan", saved({}))
