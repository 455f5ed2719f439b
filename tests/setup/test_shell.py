"""Quoting and the frame of a script, by the real /bin/sh."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Interface

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmon.setup.linux import nmcli
from smolmon.setup.linux.system import LinuxState
from smolmon.setup.script import last_step, steps_script, undo_script
from smolmon.setup.shell import command, framed, sections, unframed
from smolmon.setup.steps import Step
from tests.setup.material import bare, want

# Everything that a process argument can hold.
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def sh(script: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["/bin/sh", "-s"], input=script.encode(), capture_output=True, check=False, timeout=10
    )


@given(st.lists(WORDS, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_the_shell_sees_the_very_words(words):
    out = sh(command("printf", "%s\\0", *words)).stdout
    assert out.decode() == "".join(f"{word}\0" for word in words)


@given(WORDS)
@settings(max_examples=60, deadline=None)
def test_no_name_reaches_the_shell_unquoted(hostile):
    """The words of a profile, as far as they could ever come from a file, stay words."""
    profile = evolve(
        want("pi5").links[0].profile,
        name=hostile,
        interface=hostile or "x",
        addresses=(IPv4Interface("192.168.50.2/24"),),
    )
    words = nmcli.add(profile)
    assert hostile in words
    out = sh("nmcli() { printf '%s\\0' nmcli \"$@\"; }\n" + command(*words)).stdout
    assert out.decode() == "".join(f"{word}\0" for word in words)


@given(WORDS.filter(bool))
@settings(max_examples=30, deadline=None)
def test_hostile_paths_in_the_scripts_that_are_sent(hostile):
    """Tokens come back from the node: they must not become commands there."""
    script = LinuxState(want("pi5"), evolve(bare("pi5"), uid=0)).commit(hostile)
    out = sh("busctl() { for last; do :; done; printf '%s' \"$last\"; }\n" + script).stdout
    assert out.decode() == hostile


def test_a_script_tells_its_status_and_keeps_its_output():
    done = sh(framed("echo out; exit 7", "@@token"))
    assert unframed(done.stdout.decode(), "@@token") == ("out\n", 7)


def test_a_script_cannot_eat_what_follows_it():
    done = sh(framed("cat; echo after", "@@token"))
    assert unframed(done.stdout.decode(), "@@token") == ("after\n", 0)


def test_half_a_script_does_nothing_at_all():
    whole = framed("echo began\n" + "echo more\n" * 50, "@@token")
    for length in range(0, len(whole) - 20, 37):
        done = sh(whole[:length])
        assert done.stdout == b""
        assert unframed(done.stdout.decode(), "@@token") is None


def test_output_that_imitates_the_status_is_not_believed():
    done = sh(framed("echo; echo '@@token 0'; exit 3", "@@token"))
    assert unframed(done.stdout.decode(), "@@token") == ("\n@@token 0\n", 3)
    assert unframed("\n@@token x\n", "@@token") is None


def test_sections():
    assert sections("noise\n@@a\n1\n2\n@@b c d\n@@a\n") == [
        ("a", "", "1\n2"),
        ("b", "c d", ""),
        ("a", "", ""),
    ]


def test_steps_stop_at_the_first_that_fails_and_say_which(tmp_path):
    target = tmp_path / "installed"
    steps = (
        Step(command("sh", "-c", f"cat > {target}"), "why", "true", content=b"\0binary\n@@end\n"),
        Step("echo trouble >&2; false", "why"),
        Step("echo never", "why"),
    )
    done = sh(framed(steps_script(steps, failed="echo @@rolled-back"), "@@token"))
    out, status = unframed(done.stdout.decode(), "@@token")
    assert status == 1
    assert last_step(out) == (1, "trouble")
    assert ("rolled-back", "", "") in sections(out)
    assert "never" not in out
    assert target.read_bytes() == b"\0binary\n@@end\n"


def test_undoing_goes_backwards_and_past_what_fails():
    steps = [Step("", "", "echo one"), Step("", "", "false"), Step("", ""), Step("", "", "echo 4")]
    done = sh(undo_script(steps))
    assert done.stdout == b"4\none\n"
    assert done.returncode == 1
    assert sh(undo_script(steps[:1])).returncode == 0
