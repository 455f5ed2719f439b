"""What can come of a test, as a closed list, and how trouble is told apart."""

from __future__ import annotations

import errno
import os
from enum import Enum

from attrs import frozen

from smolmon.exporter.bandwidth.job import ABSENT, Measurement, Role, Trouble


class Result(str, Enum):
    """How a slot ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    ABORTED = "aborted"
    SKIPPED = "skipped"


# Not strings: TRAINING of one of these must not be equal to that of another.
class Skipped(Enum):
    """Why a test did not start."""

    TRAINING = "training"  # somebody is connected to the training server
    LINK_BUSY = "link_busy"  # the interface carries more than its share already
    PEER_BUSY = "peer_busy"  # the other end said that it skips
    BUDGET = "budget"  # the day's bytes are spent
    MISSED = "missed"  # the slot was over: the machine slept, or its clock was set
    UNAVAILABLE = "unavailable"  # there is no libiperf that can be loaded
    UNKNOWN = "unknown"  # whether training runs cannot be seen


class Aborted(Enum):
    """Why a test was ended before its time."""

    TRAINING = "training"
    PEER = "peer"  # by the other end
    STOPPED = "stopped"  # the exporter ended, or read its cluster file again


class Failed(Enum):
    """What went wrong with a test that started."""

    REFUSED = "refused"  # nobody listened at the other end
    UNREACHABLE = "unreachable"  # no route, or an ICMP error
    CONNECT_TIMEOUT = "connect_timeout"  # no answer to the connection
    NO_CLIENT = "no_client"  # the other end never came
    TIMEOUT = "timeout"  # not over when the slot was
    KILLED = "killed"  # the test's process was ended by somebody else
    LINK_DOWN = "link_down"  # the interface lost its carrier
    ADDRESS = "address"  # cannot listen at, or send from, the declared address
    ERROR = "error"  # anything else


Reason = Skipped | Aborted | Failed


@frozen
class Outcome:
    """What came of one end of a test: a measurement, or a reason and words about it.

    `bytes` is what this end spent on it.
    """

    measurement: Measurement | None = None
    reason: Reason | None = None
    text: str = ""
    bytes: int = 0

    @property
    def result(self) -> Result:
        """How it ended."""
        kinds = {Skipped: Result.SKIPPED, Aborted: Result.ABORTED, Failed: Result.FAILURE}
        return kinds[type(self.reason)] if self.reason else Result.SUCCESS


def remedy(unavailable: str) -> str:
    """What to do about a node of which that was said without a usable libiperf."""
    if unavailable.startswith(ABSENT):
        return "install it: `sudo apt install libiperf0`, on macOS `brew install iperf3`"
    return "it must be made for the processor that Python is made for, and have all it needs"


# Of iperf_api.h.
_LISTEN, _CONNECT, _RECEIVE_COOKIE, _RECEIVE_PARAMETERS, _DENIED = 102, 103, 106, 114, 121
# Control connection closed or broken, the other end said goodbye, a stream broke.
_BROKEN = (107, 108, 109, 111, 112, 113, 115, 116, 117, 119, 120, 205, 206)
_SAID: dict[int, Reason] = {
    _LISTEN: Failed.ADDRESS,
    _DENIED: Skipped.PEER_BUSY,
    **dict.fromkeys(_BROKEN, Aborted.PEER),
}

_CONNECTING = {
    errno.ECONNREFUSED: Failed.REFUSED,
    errno.EHOSTUNREACH: Failed.UNREACHABLE,
    errno.ENETUNREACH: Failed.UNREACHABLE,
    errno.ENETDOWN: Failed.UNREACHABLE,
    errno.EADDRNOTAVAIL: Failed.ADDRESS,
    errno.ETIMEDOUT: Failed.CONNECT_TIMEOUT,
    errno.EINPROGRESS: Failed.CONNECT_TIMEOUT,  # what libiperf says when its own time is over
}


def reason_of(trouble: Trouble, role: Role) -> Reason:
    """The reason that `trouble` amounts to."""
    told: bool
    reason: Reason
    for told, reason in (
        (trouble.library, Skipped.UNAVAILABLE),
        (trouble.late, Failed.TIMEOUT),
        (trouble.killed, Failed.KILLED),
    ):
        if told:
            return reason
    if trouble.code == _CONNECT:
        words = {os.strerror(number): reason for number, reason in _CONNECTING.items()}
        return next((r for w, r in words.items() if trouble.text.endswith(w)), Failed.ERROR)
    # A client that has to skip connects and says nothing: see end.py.
    if role is Role.RECEIVE and trouble.code in (_RECEIVE_COOKIE, _RECEIVE_PARAMETERS):
        return Skipped.PEER_BUSY
    return _SAID.get(trouble.code, Failed.ERROR)
