"""Speaking D-Bus: to a real message bus, and on values of any type."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmon.setup.linux import ask_bus

BUS = "org.freedesktop.DBus"
CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
"""


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[ask_bus.Bus]:
    """A connection to a message bus of our own."""
    program = shutil.which("dbus-daemon")
    assert program, "there is no dbus-daemon; scripts/bootstrap installs it"
    path = tmp_path / "bus"
    (tmp_path / "bus.conf").write_text(CONFIGURATION.format(path=path))
    words = [program, "--nofork", "--print-address", f"--config-file={tmp_path}/bus.conf"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout
        try:
            assert daemon.stdout.readline().startswith("unix:")  # it listens
            yield ask_bus.Bus(str(path))
        finally:
            daemon.terminate()


def test_it_is_let_in_and_answered(bus: ask_bus.Bus) -> None:
    names = bus.call(BUS, "/org/freedesktop/DBus", BUS, "ListNames")
    assert BUS in names
    assert len(names) == 2  # the bus, and us
    assert len(bus.call(BUS, "/org/freedesktop/DBus", BUS, "GetId")) == 32


def test_an_error_is_none_and_the_next_answer_is_read(bus: ask_bus.Bus) -> None:
    assert bus.call(BUS, "/org/freedesktop/DBus", BUS, "NoSuchMethod", 7) is None
    assert BUS in bus.call(BUS, "/org/freedesktop/DBus", BUS, "ListNames")


def test_without_networkmanager_it_says_nothing(bus: ask_bus.Bus) -> None:
    with pytest.raises(AttributeError):
        list(ask_bus.told(bus, []))


# Values beside their types, as the D-Bus Specification names those.
BASIC = {
    "y": st.integers(0, 255),
    "b": st.booleans(),
    "n": st.integers(-(2**15), 2**15 - 1),
    "u": st.integers(0, 2**32 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "t": st.integers(0, 2**64 - 1),
    "x": st.integers(-(2**63), 2**63 - 1),
    "s": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
}
basic = st.sampled_from(sorted(BASIC)).flatmap(lambda k: st.tuples(st.just(k), BASIC[k]))


def _lists(key: str) -> st.SearchStrategy[tuple[str, object]]:
    return st.tuples(st.just("a" + key), st.lists(BASIC[key], max_size=4))


lists = st.sampled_from(sorted(BASIC)).flatmap(_lists)
properties = st.dictionaries(BASIC["s"], basic | lists, max_size=4).map(lambda d: ("a{sv}", d))
nested = st.dictionaries(BASIC["s"], properties.map(lambda p: p[1]), max_size=3).map(
    lambda d: ("a{sa{sv}}", d)
)


def marshaled(signature: str, value: object, at: int) -> bytes:
    """`value` as it stands at offset `at`, with the padding before it."""
    kind = signature[0]
    pad = b"\0" * (-at % ask_bus.ALIGNED[kind])
    at += len(pad)
    if kind == "b":
        return pad + struct.pack("<I", value)
    if kind in ask_bus.FIXED:
        return pad + struct.pack("<" + ask_bus.FIXED[kind], value)
    if kind == "s":
        assert isinstance(value, str)
        data = value.encode()
        return pad + struct.pack("<I", len(data)) + data + b"\0"
    if kind == "v":
        assert isinstance(value, tuple)
        head = bytes([len(value[0])]) + value[0].encode() + b"\0"
        return pad + head + marshaled(*value, at + len(head))
    inner = signature[1:]
    first = at + 4 + (-(at + 4) % ask_bus.ALIGNED[inner[0]])
    body = b""
    if inner[0] == "{":
        assert isinstance(value, dict)
        for key, one in value.items():
            body += b"\0" * (-(first + len(body)) % 8)
            body += marshaled(inner[1], key, first + len(body))
            body += marshaled(inner[2:-1], one, first + len(body))
    else:
        assert isinstance(value, list)
        for one in value:
            body += marshaled(inner, one, first + len(body))
    return pad + struct.pack("<I", len(body)) + b"\0" * (first - at - 4) + body


def plain(signature: str, value: object) -> object:
    """`value` as it is read: a variant is {"data": ...}."""
    if signature == "v":
        assert isinstance(value, tuple)
        return {"data": plain(*value)}
    if isinstance(value, dict):
        return {k: plain(signature[3:-1], v) for k, v in value.items()}
    return value


@given(basic | lists | properties | nested, st.integers(0, 7))
def test_what_was_marshaled_is_read(typed: tuple[str, object], offset: int) -> None:
    signature, value = typed
    data = b"\0" * offset + marshaled(signature, value, offset)
    assert ask_bus.end(signature, 0) == len(signature)
    seen, at = ask_bus.read(data, offset, signature)
    assert seen == plain(signature, value)
    assert at == len(data)
    assert json.loads(ask_bus.printed(seen)) == seen


def test_fields_are_as_nmcli_prints_them() -> None:
    assert ask_bus.terse("a:b\\c\nd") == "a\\:b\\\\c d"
