"""libiperf, alone in a process of its own: it may hang, abort or exit, and takes nobody with it.

What the `iperf3` package's own run() would do, and is avoided here: its standard output is a pipe
that nobody reads (libiperf stands still at 64 KiB of JSON), it cannot be told how long a connection
may take, and its server answers for ever.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

from smolmon.exporter.bandwidth import report
from smolmon.exporter.bandwidth.job import (
    ABSENT,
    CONNECT_TIMEOUT,
    Answer,
    Job,
    Role,
    Trouble,
    answer_as_json,
)

# What Linux looks up, and where macOS has it: neither dyld nor ctypes looks in Homebrew's folder on
# Apple silicon, and a LaunchDaemon has no environment that would tell them to.
LIBRARIES = (
    "libiperf.so.0",
    "/opt/homebrew/lib/libiperf.dylib",  # Homebrew on Apple silicon
    "/usr/local/lib/libiperf.dylib",  # Homebrew on Intel, and whoever builds it
    "/opt/local/lib/libiperf.dylib",  # MacPorts
)
CONNECT = 103  # IECONNECT of iperf_api.h
COMPLETE = 0.9  # of the duration: a test that lasted so long was not broken off
RETRY = 0.2  # seconds until a server that does not listen yet is tried again


def main() -> NoReturn:
    """Read a job from standard input, answer on standard output, and end."""
    job = Job.from_json(sys.stdin.readline())
    # Ends the process even while it is inside libiperf, which runs with its signals as they are.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, job.lifetime)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # libiperf prints its report as well as keeping it
    answer = run(job)
    os.write(out, f"\n{answer_as_json(answer)}\n".encode())
    os._exit(0)  # not by the package's __del__, which closes what libiperf has closed already


def _end_with_parent() -> None:
    """Standard input ends when the parent does, however it does."""
    while os.read(0, 1024):
        pass
    os._exit(3)


def run(job: Job) -> Answer | None:
    """Carry `job` out; None says that libiperf can be used."""
    try:
        test = _test(job)
    except OSError as error:
        return Trouble(str(error), library=True)
    if job.role is Role.CHECK:
        return None
    if job.role is Role.RECEIVE:
        return _read(test, job, test.lib.iperf_run_server(test._test))
    time.sleep(max(0.0, job.begin - time.time()))
    until = time.monotonic() + job.patience
    while True:
        answer = _read(test, job, test.lib.iperf_run_client(test._test))
        refused = isinstance(answer, Trouble) and answer.code == CONNECT
        if not refused or time.monotonic() + RETRY > until:
            return answer
        time.sleep(RETRY)
        test = _test(job)


def _test(job: Job) -> Any:  # noqa: ANN401 - the package has no types
    """One test of libiperf, bounded in every way it can be. Raises OSError without libiperf."""
    import iperf3  # noqa: PLC0415 - only here: it stays out of the exporter's own process

    test = _loaded(iperf3.Server if job.role is Role.RECEIVE else iperf3.Client)
    ctypes.c_int.in_dll(test.lib, "i_errno").value = 0  # it keeps the error of an earlier attempt
    test.verbose = False
    test.port = job.port
    # One interval is enough: the report stays small, however many streams there are.
    for name in ("iperf_set_test_reporter_interval", "iperf_set_test_stats_interval"):
        _call(test, name, ctypes.c_double, 0.0)
    if job.role is Role.RECEIVE:
        test.bind_address = job.server
        _call(test, "iperf_set_test_one_off", ctypes.c_int, 1)
    else:
        test.bind_address = job.client
        test.server_hostname = job.server
        test.duration = job.duration
        test.num_streams = job.streams
        if job.rate:
            # libiperf caps each stream, in bits per second.
            test.bandwidth = max(1, int(job.rate * 8 / job.streams))
        _call(test, "iperf_set_test_connect_timeout", ctypes.c_int, int(CONNECT_TIMEOUT * 1000))
    return test


def _loaded(kind: Any) -> Any:  # noqa: ANN401
    """A test of that kind, with the first libiperf that can be loaded."""
    unusable = []
    for name in LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError as error:
            absent = str(error).startswith((f"{name}: cannot open", "dlopen("))
            # Else it was made for another processor than Python, or lacks something itself.
            if not absent or os.path.exists(name):  # noqa: PTH110 - pathlib costs a Pi time
                unusable.append(f"{name} cannot be loaded: {' '.join(str(error).split())}")
            continue
        return kind(lib_name=name)
    raise OSError("; ".join(unusable) or f"{ABSENT} (looked for {', '.join(LIBRARIES)})")


def _call(test: Any, name: str, kind: Any, value: float) -> None:  # noqa: ANN401
    """Call a setter that the package does not know, and an old libiperf may not have."""
    function = getattr(test.lib, name, None)
    if function is not None:
        function.argtypes = (ctypes.c_void_p, kind)
        function.restype = None
        function(test._test, value)


def _read(test: Any, job: Job, status: int) -> Answer:  # noqa: ANN401
    """What libiperf has to say after a run."""
    kept = test.lib.iperf_get_test_json_output_string
    kept.argtypes, kept.restype = (ctypes.c_void_p,), ctypes.c_char_p
    text = (kept(test._test) or b"").decode(errors="replace")
    code = int(test._errno)
    said = test._error_to_string(code) if code else ""
    answer = report.read(text, job.role, code, said, COMPLETE * job.duration)
    if status and not isinstance(answer, Trouble):
        return Trouble(f"libiperf returned {status}")
    return answer


if __name__ == "__main__":
    main()
