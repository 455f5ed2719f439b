"""The section `notify`: what it means, and that no secret gets into it unnoticed."""

from __future__ import annotations

import pytest

from smolmon.cluster import Cluster, ClusterError, parse
from smolmon.cluster.notify import Heartbeat, Notify, Receiver, Service, Severity
from tests.cluster.clusters import GUIDE

TEXT = GUIDE.read_text()


def with_notify(section: str) -> Cluster:
    return parse(f"{TEXT}notify:\n{section}", "c.yaml")


def problems(section: str) -> list[str]:
    with pytest.raises(ClusterError) as caught:
        with_notify(section)
    return [str(problem) for problem in caught.value.problems]


def receiver(line: str) -> Receiver:
    (found,) = with_notify(f"  receivers:\n    phone: {line}\n").notify.receivers
    return found


def wrong(line: str) -> str:
    """The one problem of a receiver, without file and line."""
    (found,) = problems(f"  receivers:\n    phone: {line}\n")
    where, _, message = found.partition(": ")
    assert where == f"c.yaml:{len(TEXT.splitlines()) + 3}"
    return message.removeprefix("notify.receivers.phone")


def test_without_the_section_there_is_a_local_receiver_alone() -> None:
    notify = parse(TEXT).notify
    assert notify == Notify() == with_notify("").notify
    assert (notify.local, notify.receivers) == ("http://127.0.0.1:9099/", ())
    assert with_notify("  local: none\n").notify.local == ""


def test_everything_at_once() -> None:
    notify = with_notify(
        "  local: http://192.168.1.5:9099/\n"
        "  heartbeat: {url_file: secrets/beat, every: 5m}\n"
        "  repeat: {critical: 1h, warning: 24h}\n"
        "  receivers:\n"
        "    phone: {kind: ntfy, url_file: secrets/ntfy, severities: [critical]}\n"
        "    phone2: {kind: ntfy, url_file: /etc/smolmon/ntfy2}\n"
    ).notify
    assert notify.local == "http://192.168.1.5:9099/"
    assert notify.heartbeat == Heartbeat("secrets/beat", 300)
    assert (notify.repeat_critical, notify.repeat_warning) == (3600, 86400)
    assert notify.receivers == (
        Receiver("phone", Service.NTFY, (Severity.CRITICAL,), url_file="secrets/ntfy"),
        Receiver("phone2", Service.NTFY, url_file="/etc/smolmon/ntfy2"),
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{kind: discord, url_file: s/d}", {"url_file": "s/d"}),
        ("{kind: slack, url_file: s/s, channel: '#lab'}", {"url_file": "s/s", "channel": "#lab"}),
        (
            "{kind: telegram, token_file: s/t, chat: -100123}",
            {"token_file": "s/t", "chat": -100123},
        ),
        (
            "{kind: pushover, token_file: s/t, user_key_file: s/u}",
            {"token_file": "s/t", "user_key_file": "s/u"},
        ),
        (
            "{kind: email, to: a@b.example, from: c@d.example, smarthost: 'm.example:587', "
            "username: c, password_file: s/p, tls: false}",
            {
                "to": "a@b.example",
                "sender": "c@d.example",
                "smarthost": "m.example:587",
                "username": "c",
                "password_file": "s/p",
                "tls": False,
            },
        ),
        (
            "{kind: webhook, url: 'https://hook.example/x', token_file: s/t}",
            {"url": "https://hook.example/x", "token_file": "s/t"},
        ),
        ("{kind: ntfy, url: 'http://ntfy.home/alerts'}", {"url": "http://ntfy.home/alerts"}),
        (
            "{kind: ntfy, url: 'https://ntfy.sh/reserved', token_file: s/t}",
            {"url": "https://ntfy.sh/reserved", "token_file": "s/t"},
        ),
    ],
)
def test_each_kind(line: str, expected: dict[str, object]) -> None:
    kind = line.removeprefix("{kind: ").partition(",")[0]
    assert receiver(line) == Receiver("phone", Service(kind), **expected)


SECRET = "xK39-sesame"  # noqa: S105
URL = f"https://discord.com/api/webhooks/1/{SECRET}"
BOT = f"123456789:AAH{SECRET}-abcdefghijklmn"
BELONGS = "a secret does not belong in this file; write it into a file of its own and name that: "


@pytest.mark.parametrize(
    ("line", "key", "remedy"),
    [
        (f"{{kind: discord, url: '{URL}'}}", "url", "`url_file: secrets/FILE`"),
        (f"{{kind: discord, webhook_url: '{URL}'}}", "webhook_url", "`url_file: secrets/FILE`"),
        (f"{{kind: slack, api_url: '{URL}'}}", "api_url", "`url_file: secrets/FILE`"),
        (f"{{kind: telegram, chat: 1, token: '{BOT}'}}", "token", "`token_file: secrets/FILE`"),
        (f"{{kind: telegram, chat: 1, bot_token: '{BOT}'}}", "bot_token", "`token_file: "),
        (f"{{kind: ntfy, url: 'http://n/a', password: {SECRET}}}", "password", "`token_file: "),
        (
            f"{{kind: pushover, token_file: s/t, user_key: {SECRET}}}",
            "user_key",
            "`user_key_file: secrets/FILE`",
        ),
        (
            f"{{kind: email, to: a@b.c, from: a@b.c, smarthost: 'm:25', username: a, "
            f"password: {SECRET}}}",
            "password",
            "`password_file: secrets/FILE`",
        ),
    ],
)
def test_a_secret_by_its_key(line: str, key: str, remedy: str) -> None:
    message = wrong(line)
    assert message.startswith(f".{key}: {BELONGS}{remedy}")
    assert SECRET not in message


@pytest.mark.parametrize(
    "line",
    [
        f"{{kind: discord, url_file: '{URL}'}}",
        f"{{kind: telegram, chat: 1, token_file: '{BOT}'}}",
        "{kind: ntfy, url: 'http://n/a', token_file: tk_xK39sesameabcdefghijklmnopqrst}",
        "{kind: pushover, token_file: s/t, user_key_file: xK39sesameabcdefghijklmnopqrst}",
        f"{{kind: webhook, url: 'https://me:{SECRET}@hook.example/'}}",
        f"{{kind: webhook, url: '{URL}'}}",
        f"{{kind: webhook, url: 'https://hooks.slack.com/services/{SECRET}'}}",
        f"{{kind: ntfy, url: 'https://ntfy.sh/{SECRET}'}}",
    ],
)
def test_a_secret_by_its_value_is_refused_and_not_repeated(line: str) -> None:
    message = wrong(line)
    assert "sesame" not in message
    assert "secrets/FILE" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{kind: nfty, url_file: s}", ".kind: 'nfty' is not known; did you mean `ntfy`?"),
        ("{url_file: s}", ": `kind` is missing; it is one of ntfy, discord, slack"),
        ("ntfy", ": must be a mapping such as {kind: ntfy, url_file: secrets/ntfy}"),
        ("{kind: ntfy}", ": needs either `url` or `url_file`"),
        ("{kind: ntfy, url: 'http://n/a', url_file: s}", ": needs either `url` or `url_file`"),
        ("{kind: ntfy, url: 'http://n/a?tpl=1'}", ".url: write the address of the topic alone"),
        ("{kind: ntfy, url: 'http://ntfy.home/'}", ".url: write the address of the topic alone"),
        ("{kind: webhook, url: hook.example}", ".url: is not a URL such as https://"),
        ("{kind: discord, url_fil: s}", ".url_fil: unknown key; did you mean `url_file`?"),
        ("{kind: telegram, token_file: s, chat: me}", ".chat: 'me' is not a chat's number"),
        (
            "{kind: ntfy, url_file: s, severities: [critcal]}",
            ".severities[0]: 'critcal' is not known; did you mean `critical`?",
        ),
        ("{kind: ntfy, url_file: s, severities: []}", ".severities: must be a list such as"),
        (
            "{kind: email, to: me, from: a@b.c, smarthost: 'm:25'}",
            ".to: 'me' is not a mail address",
        ),
        (
            "{kind: email, to: a@b.c, from: a@b.c, smarthost: m}",
            ".smarthost: 'm' is not host:port",
        ),
        (
            "{kind: email, to: a@b.c, from: a@b.c, smarthost: 'm:25', password_file: s}",
            ".password_file: has no `username` beside it; add it",
        ),
    ],
)
def test_other_problems(line: str, message: str) -> None:
    # A misspelt key is also a missing one.
    found = problems(f"  receivers:\n    phone: {line}\n")
    assert any(p.partition(": notify.receivers.phone")[2].startswith(message) for p in found), found


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("  receivers: {local: {kind: discord, url_file: s}}", "this name is kept for smolmon"),
        ("  receivers: {}", "must be a mapping with at least one receiver"),
        ("  recievers: {}", "unknown key; did you mean `receivers`?"),
        ("  local: nowhere", "is neither `none` nor a URL such as http://127.0.0.1:9099/"),
        ("  heartbeat: {url: 'https://hc-ping.com/sesame'}", f"{BELONGS}`url_file: secrets/FILE`"),
        ("  heartbeat: {url_file: s, every: 5s}", "must be from 30s to 24h"),
        ("  heartbeat: {every: 5m}", "`url_file` is missing"),
        ("  repeat: {critical: 10s}", "must be from 300s to 168h"),
        ("  repeat: {critical: often}", "is not a number with a unit"),
        ("  repeat: {info: 1h}", "unknown key; known here: `critical`, `warning`"),
        ("  repeat: 4h", "must be a mapping with `critical`, `warning`"),
    ],
)
def test_the_section_itself(section: str, message: str) -> None:
    (found,) = problems(f"{section}\n")
    assert message in found
    assert "sesame" not in found
