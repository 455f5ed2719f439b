"""What launchctl tells of its jobs: print, print-disabled, list; in the recorded format."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from smolmon.lab.mac import jobs, units
from smolmon.lab.mac.state import Table
from smolmon.lab.mac.words import complain, say

NOT_FOUND = 113
# sysexits(3), as launchctl names them: `78: EX_CONFIG`.
EXITS = {getattr(os, name): name for name in dir(os) if name.startswith("EX_") and name != "EX_OK"}


def _print(words: Sequence[str]) -> int:
    target = words[0] if words else ""
    if target in ("system", "system/"):
        say("system = {\n\ttype = system\n\tservices = {")
        for job in jobs.loaded():
            pid = jobs.unit(job["label"]).get("MainPID", "0")
            say(f"\t\t{pid:>8}      - \t{job['label']}")
        say("\t}\n}")
        return 0
    label = jobs.label_of(target)
    job_ = jobs.note(label) if label else None
    if label is None or job_ is None:
        complain(f'Could not find service "{label or target}" in domain for system')
        return NOT_FOUND
    say(_described(label, job_))
    return 0


def _described(label: str, job: Table) -> str:
    shown, plist = jobs.unit(label), job["plist"]
    running = shown.get("MainPID", "0") != "0"
    waits = shown.get("ActiveState") == "activating"
    words = plist.get("ProgramArguments") or [plist["Program"]]
    lines = [
        f"system/{label} = {{",
        f"\tactive count = {int(running)}",
        f"\tpath = {job['path']}",
        "\ttype = LaunchDaemon",
        f"\tstate = {'running' if running else 'spawn scheduled' if waits else 'not running'}",
        "",
        f"\tprogram = {plist.get('Program') or words[0]}",
        "\targuments = {",
        *(f"\t\t{word}" for word in words),
        "\t}",
        "",
    ]
    for key, name in (("StandardOutPath", "stdout path"), ("StandardErrorPath", "stderr path")):
        if plist.get(key):
            lines.append(f"\t{name} = {plist[key]}")
    lines += [
        "\tenvironment = {",
        *(f"\t\t{k} => {v}" for k, v in plist.get("EnvironmentVariables", {}).items()),
        f"\t\tXPC_SERVICE_NAME => {label}",
        "\t}",
        "",
        "\tdomain = system",
        f"\tminimum runtime = {plist.get('ThrottleInterval', units.THROTTLE)}",
        f"\truns = {jobs.runs(label)}",
    ]
    if plist.get("UserName"):
        lines.append(f"\tusername = {plist['UserName']}")
    if running:
        lines.append(f"\tpid = {shown['MainPID']}")
    status, number = jobs.ended(label)
    if number is not None:
        lines.append(f"\tlast terminating signal = {signal.strsignal(number)}: {number}")
    else:
        name = f": {EXITS[status]}" if status in EXITS else ""
        text = "(never exited)" if status is None else f"{status}{name}"
        lines.append(f"\tlast exit code = {text}")
    return "\n".join([*lines, "}"])


def _status(label: str) -> str:
    """The status of `list`: that of the last end, a signal as a negative number."""
    status, number = jobs.ended(label)
    return str(-number if number is not None else status or 0)


def _list(words: Sequence[str]) -> int:
    if words:
        job = jobs.note(words[0])
        if job is None:
            complain(f'Could not find service "{words[0]}" in domain for system')
            return NOT_FOUND
        shown = jobs.unit(words[0])
        say(f'{{\n\t"Label" = "{words[0]}";\n\t"LastExitStatus" = {_status(words[0])};')
        if shown["MainPID"] != "0":
            say(f'\t"PID" = {shown["MainPID"]};')
        say("};")
        return 0
    say("PID\tStatus\tLabel")
    for job in jobs.loaded():
        shown = jobs.unit(job["label"])
        pid = shown["MainPID"] if shown["MainPID"] != "0" else "-"
        say(f"{pid}\t{_status(job['label'])}\t{job['label']}")
    return 0


def _print_disabled(words: Sequence[str]) -> int:
    say("\n\tdisabled services = {")
    for label, disabled in jobs.overrides().items():
        say(f'\t\t"{label}" => {"disabled" if disabled else "enabled"}')
    say("\t}")
    return 0


LOOK = {"print": _print, "list": _list, "print-disabled": _print_disabled}
