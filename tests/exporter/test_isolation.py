"""A check passes only while a control address answers."""

import asyncio
import errno
from ipaddress import IPv4Address

import pytest

from smolmon.cluster.derive import Isolation
from smolmon.exporter import isolation
from smolmon.exporter.echo import Reply, Unreachable
from smolmon.exporter.isolation import IsolationChecks, State, judge
from tests.exporter.fakes import FakeEcho, error

FORBIDDEN, CONTROL = "192.168.51.4", "192.168.50.1"
CHECK = Isolation("pi5", "pi4", IPv4Address(FORBIDDEN), "edge50", IPv4Address(CONTROL))


@pytest.mark.parametrize(
    ("forbidden", "control", "state"),
    [
        (True, True, State.FAIL),
        (True, False, State.FAIL),
        (False, True, State.PASS),
        (False, False, State.INCONCLUSIVE),
    ],
)
def test_who_answers_decides(forbidden, control, state):
    assert judge(forbidden, control) is state


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(isolation, "SPACING", 0.01)
    monkeypatch.setattr(isolation, "TIMEOUT", 0.05)


def run(open_echo, device="eth0"):
    """The state after one round of checks, and the checks."""

    async def device_of(link):
        assert link == "edge50"
        return device

    async def main():
        checks = IsolationChecks([CHECK], open_echo, device_of)
        assert checks.states == {}
        task = asyncio.ensure_future(checks.run(interval=60))
        deadline = asyncio.get_running_loop().time() + 5
        while not (checks.states or checks.trouble):
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.005)
        task.cancel()
        return checks.states.get(CHECK), checks

    return asyncio.run(main())


def answering(*addresses, unreachable=()):
    def answer(address, sequence, payload):
        now = asyncio.get_running_loop().time()
        if address in addresses:
            return [Reply(address, sequence, payload, now)]
        return [Unreachable(address, sequence)] if address in unreachable else []

    return answer


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (answering(CONTROL), State.PASS),
        (answering(CONTROL, unreachable=[FORBIDDEN]), State.PASS),
        (answering(CONTROL, FORBIDDEN), State.FAIL),
        (answering(FORBIDDEN), State.FAIL),
        (answering(), State.INCONCLUSIVE),
        (answering(unreachable=[FORBIDDEN, CONTROL]), State.INCONCLUSIVE),
    ],
)
def test_state(answer, state):
    sockets = []

    def open_echo(device, ipv6=False):
        assert device == "eth0"
        sockets.append(FakeEcho(answer))
        return sockets[-1]

    assert run(open_echo)[0] is state
    assert [s.closed for s in sockets] == [True]


def test_one_lost_packet_does_not_look_like_isolation():
    asked = []

    def answer(address, sequence, payload):
        asked.append(address)
        lost = address == FORBIDDEN and asked.count(FORBIDDEN) < isolation.ROUNDS
        return [] if lost else answering(CONTROL, FORBIDDEN)(address, sequence, payload)

    assert run(lambda device, ipv6=False: FakeEcho(answer))[0] is State.FAIL


def test_without_its_interface_a_check_is_inconclusive():
    def open_echo(device, ipv6=False):
        raise error(errno.ENODEV)

    assert run(open_echo)[0] is State.INCONCLUSIVE
    assert run(open_echo, device="")[0] is State.INCONCLUSIVE


def test_a_check_that_cannot_be_made_has_no_state(caplog):
    def open_echo(device, ipv6=False):
        raise error(errno.EACCES)

    state, checks = run(open_echo)
    assert (state, checks.trouble) == (None, "Permission denied")
    assert caplog.messages == ["isolation: Permission denied"]
