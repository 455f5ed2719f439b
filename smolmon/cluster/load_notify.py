"""The section `notify` of a cluster file.

It names files that hold secrets, never a secret: the cluster file is kept in git and copied to
every node. What looks like one is refused, and not repeated in the message.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen

from smolmon.cluster import units
from smolmon.cluster.notify import Heartbeat, Notify, Receiver, Service, Severity
from smolmon.cluster.places import Place

if TYPE_CHECKING:
    from smolmon.cluster.load import _Reader

KEYS = ("receivers", "local", "heartbeat", "repeat")
# Names that the rendered configuration gives to receivers of its own.
RESERVED = ("local", "heartbeat", "null")
NONE = "none"
REPEAT = (300.0, 7 * 86400.0)  # seconds
EVERY = (30.0, 86400.0)


@frozen
class _Keys:
    """The keys of one kind of receiver, beside `kind` and `severities`."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    # Exactly one of the two, where not empty.
    either: tuple[str, ...] = ()


OF_KIND = {
    Service.NTFY: _Keys(optional=("token_file",), either=("url", "url_file")),
    Service.DISCORD: _Keys(required=("url_file",)),
    Service.SLACK: _Keys(required=("url_file",), optional=("channel",)),
    Service.TELEGRAM: _Keys(required=("token_file", "chat")),
    Service.PUSHOVER: _Keys(required=("token_file", "user_key_file")),
    Service.EMAIL: _Keys(
        required=("to", "from", "smarthost"), optional=("username", "password_file", "tls")
    ),
    Service.WEBHOOK: _Keys(optional=("token_file",), either=("url", "url_file")),
}
SECRET_WORDS = re.compile(r"token|password|passwd|secret|key|url|credential|webhook", re.IGNORECASE)
# Services whose URL lets everybody in who knows it.
SECRET_URLS = re.compile(
    r"(^|\.)(hooks\.slack\.com|discord(app)?\.com|hc-ping\.com|healthchecks\.io|api\.telegram\.org)$"
)
NTFY_SH = "ntfy.sh"
# What a token or a URL is, and no path: a bot's token, a bearer token, a Pushover key.
SECRET_VALUE = re.compile(
    r"[a-z]+://.*|[0-9]{6,}:[\w-]{20,}|(tk|xox[a-z])[_-][\w-]{8,}|[A-Za-z0-9]{30}", re.ASCII
)
PATH = re.compile(r"[^\x00-\x1f\x7f]{1,1000}")
MAIL = re.compile(r"[^\s@<>,;\x00-\x1f\x7f]+@[A-Za-z0-9.-]+")
SMARTHOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[0-9]{1,5}")
WORD = re.compile(r"[^\x00-\x1f\x7f{}]{1,200}")
CHANNEL = re.compile(r"[#@]?[\w.-]{1,80}")
CHAT = re.compile(r"-?[0-9]{1,18}")


def notify(reader: _Reader, place: Place | None) -> Notify:
    """What the section says; the defaults for what it does not."""
    usual = Notify()
    if place is None or place.value is None:
        return usual
    keys = reader.mapping(place, required=(), optional=KEYS) or {}
    repeat = _mapping(reader, keys.get("repeat"), (), ("critical", "warning"))
    receivers = [
        receiver
        for name, entry in reader.entries(keys.get("receivers"), "receiver")
        if (receiver := _receiver(reader, name, entry))
    ]
    return Notify(
        receivers=tuple(receivers),
        local=_local(reader, keys.get("local"), usual.local),
        heartbeat=_heartbeat(reader, keys.get("heartbeat")),
        repeat_critical=_seconds(reader, repeat.get("critical"), usual.repeat_critical, REPEAT),
        repeat_warning=_seconds(reader, repeat.get("warning"), usual.repeat_warning, REPEAT),
    )


def _receiver(reader: _Reader, name: str, place: Place) -> Receiver | None:
    if name in RESERVED:
        reader.wrong(place, "this name is kept for smolmon itself; choose another")
    if not isinstance(place.value, dict):
        reader.wrong(place, "must be a mapping such as {kind: ntfy, url_file: secrets/ntfy}")
        return None
    if "kind" not in place.value:
        reader.wrong(
            place, f"`kind` is missing; it is one of {', '.join(s.value for s in Service)}"
        )
        return None
    kind = reader.choice(place.value["kind"], Service)
    if kind is None:
        return None
    of = OF_KIND[kind]
    keys = _mapping(reader, place, ("kind", *of.required), ("severities", *of.optional, *of.either))
    if of.either and len(keys.keys() & set(of.either)) != 1:
        reader.wrong(place, f"needs either {' or '.join(f'`{key}`' for key in of.either)}")
    if "password_file" in keys and "username" not in keys:
        reader.wrong(keys["password_file"], "has no `username` beside it; add it")
    chat = _shown(reader, keys.get("chat"), CHAT, "a chat's number, such as 12345 or -100123")
    return Receiver(
        name=name,
        kind=kind,
        severities=_severities(reader, keys.get("severities")),
        url=_url(reader, keys.get("url"), kind, "token_file" in keys),
        url_file=_file(reader, keys.get("url_file")),
        token_file=_file(reader, keys.get("token_file")),
        user_key_file=_file(reader, keys.get("user_key_file")),
        password_file=_file(reader, keys.get("password_file")),
        username=_shown(reader, keys.get("username"), WORD, "a user's name"),
        to=_shown(reader, keys.get("to"), MAIL, "a mail address"),
        sender=_shown(reader, keys.get("from"), MAIL, "a mail address"),
        smarthost=_shown(
            reader, keys.get("smarthost"), SMARTHOST, "host:port, such as smtp.example.org:587"
        ),
        tls="tls" not in keys or reader.flag(keys["tls"]),
        chat=int(chat) if chat else 0,
        channel=_shown(reader, keys.get("channel"), CHANNEL, "the name of a channel"),
    )


def _mapping(
    reader: _Reader, place: Place | None, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, Place]:
    """As reader.mapping, but says of a key that looks like a secret where that belongs."""
    if place is None:
        return {}
    if not isinstance(place.value, dict):
        return reader.mapping(place, required, optional) or {}
    known = required + optional
    entries = {}
    for name, entry in place.value.items():
        misspelt = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if name not in known and not misspelt and SECRET_WORDS.search(name):
            file = _file_for(name, known)
            if file:
                reader.wrong(
                    entry,
                    "a secret does not belong in this file; write it into a file of its own and "
                    f"name that: `{file}: secrets/FILE`",
                )
                continue
        entries[name] = entry
    # A secret that stands in the wrong place is told of once, not as a missing key as well.
    told = len(place.value) - len(entries)
    missing = tuple(k for k in required if not (told and k.endswith("_file")))
    rest = tuple(k for k in required if k not in missing)
    return reader.mapping(Place(entries, place.line, place.key), missing, optional + rest) or {}


def _file_for(name: str, known: tuple[str, ...]) -> str | None:
    """The key that names the file of what somebody called `name`."""
    files = [key for key in known if key.endswith("_file")]
    is_url = re.search("url|webhook", name, re.IGNORECASE) is not None
    likely = [key for key in files if key.startswith("url") == is_url] or files
    near = difflib.get_close_matches(f"{name}_file", likely, n=1, cutoff=0.0)
    return near[0] if near else None


def _file(reader: _Reader, place: Place | None) -> str:
    if place is None:
        return ""
    text = place.value if isinstance(place.value, str) else ""
    if SECRET_VALUE.fullmatch(text):
        reader.wrong(
            place,
            "looks like the secret itself; write that into a file of its own, and the path of the "
            "file here, such as secrets/FILE",
        )
    elif not PATH.fullmatch(text):
        reader.wrong(place, "is not the path of a file, such as secrets/FILE")
    return text


def _url(reader: _Reader, place: Place | None, kind: Service, has_token: bool) -> str:
    if place is None:
        return ""
    remedy = "write it into a file of its own and name that: `url_file: secrets/FILE`"
    text, host = _http(place)
    if not host:
        reader.wrong(place, "is not a URL such as https://host.example/path")
    elif "@" in urlsplit(text).netloc or SECRET_URLS.search(host):
        reader.wrong(place, f"this URL is a secret, which does not belong in this file; {remedy}")
    elif kind is Service.NTFY and host == NTFY_SH and not has_token:
        reader.wrong(place, f"whoever knows a topic of {NTFY_SH} can read it; {remedy}")
    elif kind is Service.NTFY and (urlsplit(text).query or not urlsplit(text).path.strip("/")):
        reader.wrong(place, "write the address of the topic alone: https://ntfy.example/TOPIC")
    return text


def _local(reader: _Reader, place: Place | None, usual: str) -> str:
    if place is None:
        return usual
    if place.value == NONE:
        return ""
    text, host = _http(place)
    if not host or "@" in urlsplit(text).netloc:
        reader.wrong(place, f"is neither `{NONE}` nor a URL such as {usual}")
    return text


def _http(place: Place) -> tuple[str, str]:
    """The URL, and its host, which is empty where it is none that one can post to."""
    text = place.value if isinstance(place.value, str) else ""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.port != 0
        host = parts.hostname or ""
    except ValueError:
        return text, ""
    return text, host if good and text.isprintable() and " " not in text else ""


def _heartbeat(reader: _Reader, place: Place | None) -> Heartbeat | None:
    if place is None:
        return None
    keys = _mapping(reader, place, ("url_file",), ("every",))
    every = _seconds(reader, keys.get("every"), Heartbeat("").every, EVERY)
    return Heartbeat(_file(reader, keys.get("url_file")), every)


def _severities(reader: _Reader, place: Place | None) -> tuple[Severity, ...]:
    if place is None:
        return tuple(Severity)
    if not isinstance(place.value, list) or not place.value:
        reader.wrong(place, "must be a list such as [critical, warning]")
        return tuple(Severity)
    chosen = [reader.choice(entry, Severity) for entry in place.value]
    return tuple(severity for severity in Severity if severity in chosen)


def _seconds(
    reader: _Reader, place: Place | None, usual: float, span: tuple[float, float]
) -> float:
    value = reader.quantity(place, units.DURATION_UNITS, usual)
    if place is not None and value > 0 and not span[0] <= value <= span[1]:
        reader.wrong(place, f"must be from {span[0]:g}s to {span[1] / 3600:g}h")
    return value


def _shown(reader: _Reader, place: Place | None, pattern: re.Pattern[str], expected: str) -> str:
    return reader.text(place, pattern, expected) or ""
