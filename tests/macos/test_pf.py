"""What pfctl prints: its status, who holds it enabled, and rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smolmon.macos import pf

HELD = """\
TOKENS:
PID      Process Name                 TOKEN                    TIMESTAMP
618      socketfilterfw               9813589183660731843      0 days 00:03:31
4063     some helper 12               15053025338191571182     12 days 00:00:00
"""


def test_its_status() -> None:
    text = "Status: Enabled for 0 days 00:02:03           Debug: Urgent\n\nState Table  Total\n"
    assert pf.enabled(text) is True
    assert pf.enabled("Status: Disabled                              Debug: Urgent\n") is False
    assert pf.enabled("") is None


def test_who_holds_it_enabled() -> None:
    assert pf.references(HELD) == {"9813589183660731843", "15053025338191571182"}
    assert pf.references("No pf starter references held\n") == frozenset()


def test_rules_are_the_same_however_they_are_written() -> None:
    file = "# ours\n\nblock in quick from 10.0.0.0/8 to 10.1.0.1/32\n"
    file += "pass  quick from 10.0.0.1 to any\n"
    printed = (
        "block drop in quick inet from 10.0.0.0/8 to 10.1.0.1\n"
        "pass quick inet from 10.0.0.1 to any flags S/SA keep state\n"
    )
    assert pf.rules(file) == pf.rules(printed)
    assert len(pf.rules(file)) == 2
    others = (
        printed.replace("10.1.0.1", "10.1.0.2"),
        printed.replace(" quick", "", 1),
        printed.replace(" in ", " out "),
        printed + "pass all\n",
        "\n".join(reversed(printed.splitlines())),
    )
    for other in others:
        assert pf.rules(other) != pf.rules(printed)


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    pf.enabled(text)
    pf.references(text)
    pf.rules(text)
