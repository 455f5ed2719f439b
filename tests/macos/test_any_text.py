"""No parser raises, whatever the text; what they find is made of what stands in it."""

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smolmon.macos import (
    airport,
    arp,
    ifconfig,
    launchctl,
    ndp,
    netstat_interfaces,
    netstat_routes,
    netstat_tcp,
    networksetup,
    ping,
    pmset,
    ps,
    route_get,
    routing_messages,
    socketfilterfw,
    sysctl,
    thunderbolt,
)
from smolmon.macos.routing_messages import Changed

PARSERS: list[Callable[[str], object]] = [
    *(airport.parse, thunderbolt.parse),
    *(arp.parse, arp.parse_reachability, ndp.parse),
    *(ifconfig.parse, ifconfig.speed, netstat_interfaces.parse),
    *(netstat_routes.parse, netstat_routes.destination, route_get.parse),
    *(netstat_tcp.parse, netstat_tcp.endpoint),
    *(networksetup.error, networksetup.services, networksetup.service_order),
    *(networksetup.hardware_ports, networksetup.info, networksetup.additional_routes),
    *(socketfilterfw.global_state, socketfilterfw.stealth_mode, socketfilterfw.block_all),
    *(socketfilterfw.apps, sysctl.parse, sysctl.forwarding, sysctl.boot_time),
    *(ping.parse, pmset.parse, launchctl.parse, ps.resident_memory),
    *(launchctl.disabled, ps.elapsed),
]
RECORDED = sorted((Path(__file__).parent / "recordings").iterdir())
WORDS = sorted({word for path in RECORDED for word in path.read_text(encoding="utf-8").split(" ")})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("SPThunderboltDataType", "_items", "receptacle_1_tag", "domain_uuid_key"),
                    *("SPAirPortDataType", "spairport_airport_interfaces", "_name"),
                    *("spairport_current_network_information", "spairport_network_rate"),
                    *("spairport_signal_noise", "spairport_network_channel"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.text())
@example("٣.٣.٣.٣ ٣ ٣ ٣ ٣")
@example("9" * 5000)
@example("[" * 100_000)
def test_any_text(text: str) -> None:
    for parse in PARSERS:
        parse(text)


@given(st.lists(st.sampled_from([*WORDS, "\n", " ", "\t", "-1", "9" * 30, "٣"])).map(" ".join))
def test_any_words_of_the_recordings(text: str) -> None:
    for parse in PARSERS:
        parse(text)


@given(json_values)
def test_any_json(value: object) -> None:
    thunderbolt.parse(json.dumps(value))
    airport.parse(json.dumps(value))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_output_that_ends_anywhere_still_parses(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for end in range(0, len(text), 7):
        for parse in PARSERS:
            parse(text[:end])


@pytest.mark.parametrize(
    "text",
    [
        *("1 : /" + " " * 20_000 + "x", " x" + " " * 20_000 + "y", " a" * 20_000 + " b"),
        *("a: flags=1<" + "A," * 20_000, "en0: flags=1<> " + " mtu " * 20_000),
        *("1." * 20_000, "(" * 20_000, "block all " * 20_000, "[{" * 20_000),
    ],
    ids=lambda text: text[:12],
)
def test_no_text_takes_long(text: str) -> None:
    before = time.process_time()
    for parse in PARSERS:
        parse(text)
    assert time.process_time() - before < 1.0


def message(kind: int, flags: int = 0, version: int = 5, size: int = 92) -> bytes:
    head = struct.pack("=HBBHHi", size, version, kind, 4, 0, flags)
    return head + bytes(size - len(head))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (message(0x1), {Changed.ROUTE}),
        (message(0x2), {Changed.ROUTE}),
        (message(0x2, flags=0x400), {Changed.NEIGHBOUR}),
        (message(0x4), set()),  # the answer to somebody's `route get`
        (message(0xC), {Changed.ADDRESS}),
        (message(0xD), {Changed.ADDRESS}),
        (message(0xE), {Changed.INTERFACE}),
        (message(0x1, version=3), set()),
        (message(0xE) + message(0x2), {Changed.INTERFACE, Changed.ROUTE}),
        (message(0x1)[:6], {Changed.ROUTE}),
        (b"", set()),
        (bytes(64), set()),
    ],
)
def test_routing_messages(data: bytes, expected: set[Changed]) -> None:
    assert routing_messages.parse(data) == expected


@given(st.binary())
def test_any_bytes_from_the_routing_socket(data: bytes) -> None:
    routing_messages.parse(data)
