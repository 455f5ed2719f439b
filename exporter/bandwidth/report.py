"""What libiperf reports, in its JSON form: text in, dataclass out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from smolmon.exporter.bandwidth.job import Measurement, Role, Trouble


def read(
    text: str, role: Role, code: int, said: str, shortest: float = 0.0
) -> Measurement | Trouble:
    """The report of one end. `code` and `said` are libiperf's last error.

    Neither the exit status nor the return code tells whether a test went well: both are 0 when the
    server refused. Nor does the error number: the threads of libiperf 3.16 and newer leave one
    (206) behind when a good test ends. What tells is the key `error`, and a sum over at least
    `shortest` seconds.
    """
    try:
        report = json.loads(text) if text.strip() else {}
    except ValueError:
        report = {}
    error = report.get("error") if isinstance(report, dict) else None
    words = " ".join(str(error or said).split())
    if error:
        return Trouble(words, code)
    try:
        found, seconds = _measurement(report, role)
    except (AttributeError, KeyError, TypeError, ValueError):
        return Trouble(words or "libiperf reported no result", code)
    if seconds < shortest:
        return Trouble(words or f"the test ended after {seconds:.1f} s", code)
    return found


def _measurement(report: Mapping[str, Any], role: Role) -> tuple[Measurement, float]:
    end = report["end"]
    # Each end vouches for what it saw itself: the sender for what it handed to the kernel, the
    # receiver for what arrived.
    total = end["sum_sent" if role is Role.SEND else "sum_received"]
    amount, seconds = int(total["bytes"]), float(total["seconds"])
    if amount <= 0 or seconds <= 0:
        raise ValueError("nothing was transferred")
    cpu = end.get("cpu_utilization_percent", {})
    measured = Measurement(
        bytes=amount,
        rate=amount / seconds,
        cpu=_ratio(cpu.get("host_total")),
        remote_cpu=_ratio(cpu.get("remote_total")),
        retransmits=_count(total.get("retransmits")) if role is Role.SEND else None,
        peer=str(report.get("start", {}).get("accepted_connection", {}).get("host", "")),
    )
    return measured, seconds


def _ratio(percent: object) -> float | None:
    # 0 is what a newer libiperf says of an end that has not told it.
    return percent / 100 if isinstance(percent, int | float) and percent > 0 else None


def _count(value: object) -> int | None:
    # -1 where the operating system does not count them.
    return value if isinstance(value, int) and value >= 0 else None
