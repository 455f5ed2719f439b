"""From pf.conf(5) to nft."""

from __future__ import annotations

import pytest

from smolmon.lab.mac import pf_rules
from smolmon.lab.mac.pf_rules import BLOCK, PASS, SyntaxProblemError


def test_macros_comments_and_lists() -> None:
    text = 'edges = "{ 192.168.50.0/24, 192.168.51.0/24 }"\n# no\nblock from $edges \\\n to any\n'
    assert pf_rules.statements(text) == ["block from { 192.168.50.0/24, 192.168.51.0/24 } to any"]


def test_a_rule_between_subnets() -> None:
    (rule,) = pf_rules.translate(
        ["block drop in quick on en5 from 192.168.51.0/24 to 10.10.0.0/24"]
    )
    assert rule == (
        "in",
        'iifname { "en5" } ip saddr { 192.168.51.0/24 } ip daddr { 10.10.0.0/24 } '
        f"meta mark set {BLOCK} drop",
    )


def test_without_quick_the_last_rule_decides() -> None:
    rules = pf_rules.translate(["block out all", "pass out proto tcp to any port { 22, 80:81 }"])
    assert rules == [
        ("out", f"meta mark set {BLOCK}"),
        ("out", f"meta l4proto {{ tcp }} th dport {{ 22, 80-81 }} meta mark set {PASS}"),
    ]
    script = pf_rules.ruleset("t", rules).splitlines()
    assert script.index(f"add rule inet t pf_out meta mark {BLOCK} drop") == len(script) - 2


def test_a_rule_without_direction_is_for_both() -> None:
    assert [where for where, _ in pf_rules.translate(["pass all"])] == ["in", "out"]


def test_anchors() -> None:
    assert pf_rules.anchor('anchor "com.apple/*"') == "com.apple/*"
    assert pf_rules.anchor("block all") is None


@pytest.mark.parametrize("line", ["frobnicate all", "block sideways", "block on", "pass from {"])
def test_what_is_no_rule(line: str) -> None:
    with pytest.raises(SyntaxProblemError):
        pf_rules.translate([line])
