"""The section `monitor` of a cluster file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from smolmon.cluster import units
from smolmon.cluster.monitor import Monitor, RemoteWrite
from smolmon.cluster.places import Place

if TYPE_CHECKING:
    from smolmon.cluster.load import _Reader

KEYS = (
    *("prometheus", "alertmanager", "scrape_interval", "retention"),
    *("external_labels", "remote_write", "agent"),
)
# Nodes probe once a second, and the rules have been proven with five.
INTERVALS = (1.0, 5.0)
RETENTION = re.compile(r"[1-9][0-9]{0,4}[hdwy]")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,62}")
# smolmon labels each series with these itself.
OURS = ("cluster", "node")
WORD = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
# Prometheus 3 puts environment variables in place of $NAME.
LABEL_VALUE = re.compile(r"[^\x00-\x1f\x7f$]{1,200}")
PATH = re.compile(r"[^\x00-\x1f\x7f]{1,1000}")


def monitor(reader: _Reader, place: Place | None) -> Monitor:
    """What the section says; the defaults for what it does not."""
    usual = Monitor()
    if place is None or place.value is None:
        return usual
    keys = reader.mapping(place, required=(), optional=KEYS) or {}
    remote = _remote_writes(reader, keys.get("remote_write"))
    agent = reader.flag(keys.get("agent"))
    if agent and not keys.keys() & {"remote_write"}:
        reader.wrong(
            keys["agent"], "an agent keeps nothing itself; add `remote_write: [{url: URL}]`"
        )
    return Monitor(
        prometheus=_origin(reader, keys.get("prometheus"), usual.prometheus),
        alertmanager=_origin(reader, keys.get("alertmanager"), usual.alertmanager),
        scrape_interval=_interval(reader, keys.get("scrape_interval"), usual.scrape_interval),
        retention=reader.text(
            keys.get("retention"), RETENTION, "a number of `h`, `d`, `w` or `y`, such as 90d"
        )
        or usual.retention,
        external_labels=_labels(reader, keys.get("external_labels")),
        remote_write=remote,
        agent=agent,
    )


def _interval(reader: _Reader, place: Place | None, usual: float) -> float:
    seconds = reader.quantity(place, units.DURATION_UNITS, usual)
    if place is not None and seconds > 0 and not INTERVALS[0] <= seconds <= INTERVALS[1]:
        reader.wrong(place, f"must be from {INTERVALS[0]:g}s to {INTERVALS[1]:g}s")
    return seconds


def _labels(reader: _Reader, place: Place | None) -> tuple[tuple[str, str], ...]:
    if place is None or place.value is None:
        return ()
    if not isinstance(place.value, dict):
        reader.wrong(place, "must be a mapping such as {site: attic}")
        return ()
    found = []
    for name, entry in place.value.items():
        if not LABEL.fullmatch(name) or name.startswith("__"):
            reader.wrong(entry, "is no name for a label: use letters, digits and underscores")
        elif name in OURS:
            reader.wrong(entry, "smolmon sets this label itself; choose another name")
        value = reader.text(
            entry, LABEL_VALUE, "a label's value: at most 200 characters in one line, without `$`"
        )
        found.append((name, value or ""))
    return tuple(found)


def _remote_writes(reader: _Reader, place: Place | None) -> tuple[RemoteWrite, ...]:
    if place is None:
        return ()
    if not isinstance(place.value, list) or not place.value:
        reader.wrong(place, "must be a list such as [{url: https://metrics.example/api/v1/write}]")
        return ()
    return tuple(found for entry in place.value if (found := _remote_write(reader, entry)))


def _remote_write(reader: _Reader, place: Place) -> RemoteWrite | None:
    keys = reader.mapping(
        place, required=("url",), optional=("username", "password_file", "credentials_file")
    )
    if keys is None:
        return None
    if ("username" in keys) != ("password_file" in keys):
        reader.wrong(place, "`username` and `password_file` belong together; write both or none")
    if "credentials_file" in keys and "username" in keys:
        reader.wrong(place, "has two ways to log in; keep `credentials_file` or `username`")
    path = "a path"
    return RemoteWrite(
        url=_url(reader, keys.get("url")) or "",
        username=reader.text(keys.get("username"), WORD, "a user's name") or "",
        password_file=reader.text(keys.get("password_file"), PATH, path) or "",
        credentials_file=reader.text(keys.get("credentials_file"), PATH, path) or "",
    )


def _origin(reader: _Reader, place: Place | None, usual: str) -> str:
    """A URL without a path: `http://host:port`. Told without the slash at its end."""
    url = _url(reader, place)
    if place is None or url is None:
        return usual
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment:
        reader.wrong(place, f"write the address alone, without a path: such as {usual}")
    return url.rstrip("/")


def _url(reader: _Reader, place: Place | None) -> str | None:
    if place is None:
        return None
    text = place.value if isinstance(place.value, str) else ""
    if re.match(r"[^/]*//[^/]*@", text):
        reader.wrong(place, "has a user or a password in it; name a file with it: `password_file`")
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not text.isprintable() or " " in text:
        said = repr(text) if text else place.shape
        reader.wrong(place, f"{said} is not a URL such as http://127.0.0.1:9090")
        return None
    return text
