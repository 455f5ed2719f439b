"""The sudoers file: all that setup runs as root, and nothing that could be anything."""

from __future__ import annotations

import fnmatch
import re

import pytest
from attrs import evolve

from smolmon.setup.linux.facts import Facts
from smolmon.setup.linux.removal import removal
from smolmon.setup.linux.sudoers import as_root, permit_words, sudoers
from smolmon.setup.linux.system import LinuxState
from smolmon.setup.steps import Plan
from tests.setup.linux.test_plan import ACCIDENTS, NODES
from tests.setup.material import bare, bundle, installed, provisioned, want

TOKEN = "/org/freedesktop/NetworkManager/Checkpoint/17"  # noqa: S105
# Those of the recordings: an early version did not ask for them.
PROGRAMS = {
    **{name: f"/usr/sbin/{name}" for name in ("ip", "nft", "unshare")},
    **installed("pi5").programs,
}


def allowed(node: str, facts: Facts) -> list[str]:
    """The commands of a node's file, as patterns."""
    return patterns(sudoers(want(node), evolve(facts, programs=PROGRAMS)))


def patterns(text: str) -> list[str]:
    """The commands of a file as sudo matches them: a pattern of fnmatch(3)."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = []
    for line in lines:
        command = re.fullmatch(r"\S+ ALL=\(root\) NOPASSWD: (.*)", line)[1]
        # sudoers(5) takes the backslashes off its own special characters; fnmatch has others.
        plain = re.sub(r"\\([\\:,= #])", r"\1", command)
        assert not re.search(r"\\[*?\[\]!^]", plain)
        found.append(plain)
    return found


def may(patterns: list[str], words: list[str]) -> bool:
    """As sudo does it: the program's path, and the arguments joined by spaces."""
    text = " ".join([PROGRAMS[words[0]], *words[1:]])
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


def root_commands(state: LinuxState, plan: Plan) -> list[list[str]]:
    texts = [t for s in plan.steps for t in (s.command, s.undo or "")]
    texts += [state.commit(TOKEN), state.rollback(TOKEN), state.journal(), state.tidy()]
    texts += [state.armed(plan.network, 90)]
    return [words for text in texts for words in as_root(text) if "$checkpoint" not in words]


@pytest.mark.parametrize("node", NODES)
def test_whatever_setup_runs_is_allowed(node):
    """The file made on the bare node, held against every plan that the accidents lead to."""
    patterns = allowed(node, bare(node))
    broken = [accident(provisioned(node), node) for accident in ACCIDENTS]
    for facts in (bare(node), provisioned(node), installed(node), *broken):
        connections = tuple(
            evolve(c, uuid="0b7c62f1-8f3d-5e4a-9d55-aa0123456789") if c.uuid == "another" else c
            for c in facts.connections
        )
        facts = evolve(facts, connections=connections)  # noqa: PLW2901 - a UUID as they really are
        state = LinuxState(want(node), facts)
        for plan in (state.plan(bundle()), state.plan(None), removal(want(node), facts)):
            for words in root_commands(state, plan):
                assert may(patterns, words), words
    assert may(patterns, permit_words(want(node)))


@pytest.mark.parametrize(
    "words",
    [
        ["nmcli", "connection", "delete", "uuid", "x"],
        ["nmcli", "connection", "delete", "id", "preconfigured"],
        ["nmcli", "connection", "modify", "uuid", "a8d2a573-8e40-56ae-a1c3-8980a86297c6"],
        ["install", "-D", "-m", "0644", "/dev/stdin", "/etc/sudoers.d/x"],
        ["mv", "-f", "/opt/smolmon/smolmon.pyz.new", "/etc/passwd"],
        ["rm", "-f", "/etc/passwd"],
        ["rm", "-f"],
        ["sysctl", "-q", "-w", "kernel.core_pattern=|/x"],
        ["systemctl", "restart", "ssh.service"],
        ["systemctl", "stop"],
        ["busctl", "call", "org.freedesktop.NetworkManager"],
        ["basename", "x"],
    ],
)
def test_and_nothing_else(words):
    assert not may(allowed("pi5", bare("pi5")), words)


def test_no_pattern_matches_a_space():
    for pattern in allowed("mini1", bare("mini1")):
        assert "*" not in pattern
        assert "?" not in pattern


def test_a_name_that_is_more_than_letters_is_quoted():
    facts = evolve(bare("pi5"), programs=PROGRAMS, user="some.one")
    assert '\n"some.one" ALL=(root) NOPASSWD: ' in sudoers(want("pi5"), facts)


def test_another_cluster_file_asks_for_another_file():
    link = want("pi5").links[0]
    moved = evolve(want("pi5"), links=(evolve(link, profile=evolve(link.profile, addresses=())),))
    assert permit_words(moved) != permit_words(want("pi5"))
    assert permit_words(want("pi5")) == permit_words(want("pi5"))


def test_commands_behind_sudo():
    text = "{ [ ! -e a ] || sudo -n mv -f 'a b' c; } && sudo -n rm '' x </dev/null || echo sudo -n"
    assert list(as_root(text)) == [["mv", "-f", "a b", "c"], ["rm", "", "x"], []]
