"""How the fault matrix counts what was sent."""

from __future__ import annotations

from smolmon.lab.matrix import notifications


def sent(*lines: str) -> list[dict[str, str]]:
    """Lines `TIME STATUS ALERT NODE SUMMARY` as the sink keeps them."""
    keys = ("time", "status", "alert", "node", "summary")
    return [dict(zip(keys, f"{line} {line.split()[3]}".split()[:5], strict=True)) for line in lines]


def test_what_comes_together_is_one() -> None:
    assert notifications(sent("1 firing Loss a", "1 firing Loss b", "9 resolved Loss a")) == 1


def test_what_comes_later_is_another_even_if_it_says_the_same() -> None:
    assert notifications(sent("1 firing Loss a", "2 firing Loss b")) == 2
    assert notifications(sent("1 firing Loss a", "2 firing Loss a")) == 2
    assert notifications(sent("1 firing Loss a", "1 firing Speed a")) == 2


def test_the_end_of_an_earlier_trial_told_again_is_none_of_this() -> None:
    again = sent("1 firing Loss a", "2 resolved Loss before", "2 firing Loss a")
    assert notifications(again) == 1
    assert notifications([*again, *sent("3 firing Loss a", "3 firing Loss b")]) == 2
    other_port = sent("1 firing Off a en5", "2 resolved Off a en6", "2 firing Off a en5")
    assert notifications(other_port) == 1


def test_a_resolution_in_between_does_not_hide_a_second_one() -> None:
    assert notifications(sent("1 firing Loss a", "2 resolved Loss a", "3 firing Loss a")) == 2
