"""From a launchd.plist(5) to units of systemd, which carries the jobs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Plist = dict[str, Any]

THROTTLE = 10  # seconds between two starts of a job (launchd.plist(5), ThrottleInterval)
EXIT_TIMEOUT = 20  # seconds from SIGTERM to SIGKILL (ExitTimeOut)
PREFIX = "launchd-"
DEFAULT_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"


class UnsupportedError(ValueError):
    """A property list that launchd would not take; one line."""


def unit_name(label: str) -> str:
    """The name of a label's unit without its kind: whatever is not a plain character is escaped."""
    return PREFIX + re.sub(
        r"[^A-Za-z0-9.:_-]", lambda m: "".join(f"\\x{b:02x}" for b in m[0].encode()), label
    )


def check(job: Plist) -> None:
    """Whether launchd would load it. Raises UnsupportedError."""
    label = job.get("Label")
    if not isinstance(label, str) or not label:
        raise UnsupportedError("no Label")
    words = job.get("ProgramArguments", [])
    if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        raise UnsupportedError("ProgramArguments is not a list of strings")
    if not words and not job.get("Program"):
        raise UnsupportedError("neither Program nor ProgramArguments")
    program = job.get("Program") or words[0]
    if not program.startswith("/"):
        # launchd does look along the PATH; whoever relies on that gets what is there.
        raise UnsupportedError(f"{program} is not an absolute path")


def starts_at_load(job: Plist) -> bool:
    """Whether the job runs as soon as launchd knows it."""
    return bool(job.get("RunAtLoad")) or bool(job.get("KeepAlive"))


def units(job: Plist, throttle: str) -> Iterator[tuple[str, str]]:
    """Name and text of every unit. `throttle` is the program that keeps two starts apart."""
    name = unit_name(job["Label"])
    yield f"{name}.service", _service(job, name, throttle)
    if "StartInterval" in job:
        every = int(job["StartInterval"])
        times = f"OnActiveSec={every}\nOnUnitActiveSec={every}\nAccuracySec=100ms\n"
        yield f"{name}.timer", f"[Unit]\nStopWhenUnneeded=no\n[Timer]\n{times}"
    elif "StartCalendarInterval" in job:
        given = job["StartCalendarInterval"]
        whens = given if isinstance(given, list) else [given]
        lines = [f"OnCalendar={_calendar(when)}\n" for when in whens]
        yield f"{name}.timer", f"[Timer]\n{''.join(lines)}AccuracySec=100ms\n"
    if job.get("WatchPaths"):
        lines = [f"PathModified={_escape(path)}\n" for path in job["WatchPaths"]]
        yield f"{name}.path", f"[Path]\n{''.join(lines)}"


def _service(job: Plist, name: str, throttle: str) -> str:
    words = list(job.get("ProgramArguments") or [job["Program"]])
    program = job.get("Program") or words[0]
    pause = int(job.get("ThrottleInterval", THROTTLE))
    lines = [
        "[Unit]",
        f"Description=launchd job {_escape(job['Label'])}",
        "StartLimitIntervalSec=0",
        "[Service]",
        # `:` - no variables are put in; `@` - argv[0] is the first word.
        f"ExecStart=@:{_word(program)} {' '.join(map(_word, words))}",
        f"ExecStartPre=+{throttle} {_word(name)} {pause}",
        f"ExecStopPost=+{throttle} {_word(name)} ended",
        f"Restart={_restart(job.get('KeepAlive', False))}",
        "RestartSec=100ms",
        "TimeoutStartSec=infinity",
        f"TimeoutStopSec={int(job.get('ExitTimeOut', EXIT_TIMEOUT)) or 'infinity'}",
        "KillMode=" + ("process" if job.get("AbandonProcessGroup") else "control-group"),
    ]
    environment = {"PATH": DEFAULT_PATH, "XPC_SERVICE_NAME": job["Label"]}
    environment |= job.get("EnvironmentVariables", {})
    lines += [f"Environment={_word(f'{key}={value}')}" for key, value in environment.items()]
    for key, option in (("UserName", "User"), ("GroupName", "Group")):
        if job.get(key):
            lines.append(f"{option}={_escape(_group(job[key]))}")
    if job.get("WorkingDirectory"):
        lines.append(f"WorkingDirectory={_escape(job['WorkingDirectory'])}")
    for key, option in (("StandardOutPath", "Output"), ("StandardErrorPath", "Error")):
        where = f"append:{_escape(job[key])}" if job.get(key) else "null"
        lines.append(f"Standard{option}={where}")
    if "Nice" in job:
        lines.append(f"Nice={int(job['Nice'])}")
    if "Umask" in job:
        lines.append(f"UMask={int(job['Umask']):04o}")
    files = {**job.get("SoftResourceLimits", {}), **job.get("HardResourceLimits", {})}
    if "NumberOfFiles" in files:
        lines.append(f"LimitNOFILE={int(files['NumberOfFiles'])}")
    return "\n".join(lines) + "\n"


def _group(name: str) -> str:
    return "root" if name == "wheel" else name


def _restart(keep: object) -> str:
    """KeepAlive's conditions in systemd's words; others count as `always`."""
    if isinstance(keep, dict):
        if "SuccessfulExit" in keep:
            return "on-success" if keep["SuccessfulExit"] else "on-failure"
        if "Crashed" in keep:
            return "on-abnormal" if keep["Crashed"] else "on-success"
        return "always" if keep else "no"
    return "always" if keep else "no"


def _calendar(when: dict[str, int]) -> str:
    days = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    day = f"{days[when['Weekday']]} " if "Weekday" in when else ""
    month, date, hour, minute = (when.get(k, "*") for k in ("Month", "Day", "Hour", "Minute"))
    return f"{day}*-{month}-{date} {hour}:{minute}:00"


def _escape(text: str) -> str:
    """A value of a unit file (systemd.unit(5)): one line, `%` doubled."""
    if set(text) & {"\n", "\r", "\0"}:
        raise UnsupportedError("a line break cannot be carried here")
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """One word of a command line (systemd.service(5), "Command lines")."""
    inner = _escape(text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
    return f'"{inner}"'
