"""The receivers of Alertmanager's configuration, by kind.

What each kind is called there, and since when its secrets can be read from files: Alertmanager's
docs/configuration.md and CHANGELOG.md. Slack, email and plain webhooks: before 0.25. Telegram and
Pushover: 0.26. Discord and URLs that are secret: 0.27, and without faults 0.28.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from smolmon.alerts.notify_text import NTFY_MESSAGE, NTFY_TITLE, TEXT, TITLE
from smolmon.cluster.notify import Notify, Receiver, Service

NULL = "null"
LOCAL = "local"
HEARTBEAT = "heartbeat"

# ntfy reads 32 KiB of a notification, and refuses a message of more than 4 KiB for good.
NTFY_ALERTS = 3
# Pushover's "high": it is heard at night. "Emergency" would have to be acknowledged.
PUSHOVER_PRIORITY = (
    '{{ if eq .Status "firing" }}{{ if eq .CommonLabels.severity "critical" }}1{{ else }}0{{ end }}'
    "{{ else }}-1{{ end }}"
)

Where = Callable[[str], str]


def receivers(notify: Notify, folder: PurePath) -> list[dict[str, Any]]:
    """All of them; relative paths of secrets begin at `folder`, since Alertmanager's would not."""

    def where(path: str) -> str:
        return str(folder / path)

    found: list[dict[str, Any]] = [{"name": NULL}]
    if notify.local:
        found.append({"name": LOCAL, "webhook_configs": [{"url": notify.local, **_RESOLVED}]})
    if notify.heartbeat:
        beat = {"url_file": where(notify.heartbeat.url_file), "send_resolved": False}
        found.append({"name": HEARTBEAT, "webhook_configs": [beat]})
    for receiver in notify.receivers:
        section, build = _KINDS[receiver.kind]
        found.append({"name": receiver.name, section: [build(receiver, where) | _RESOLVED]})
    return found


_RESOLVED = {"send_resolved": True}


def _webhook(receiver: Receiver, where: Where) -> dict[str, Any]:
    address = {"url": receiver.url} if receiver.url else {"url_file": where(receiver.url_file)}
    return address | _authorized(receiver, where)


def _authorized(receiver: Receiver, where: Where) -> dict[str, Any]:
    if not receiver.token_file:
        return {}
    bearer = {"type": "Bearer", "credentials_file": where(receiver.token_file)}
    return {"http_config": {"authorization": bearer}}


def _ntfy(receiver: Receiver, where: Where) -> dict[str, Any]:
    """ntfy makes the message itself, of templates that come with each (docs/publish.md there).

    They are part of the URL. Where that is not ours to write they are headers, which Alertmanager
    can send since 0.28.
    """
    config = _webhook(receiver, where) | {"max_alerts": NTFY_ALERTS}
    said = {"template": "yes", "title": NTFY_TITLE, "message": NTFY_MESSAGE}
    if receiver.url:
        query = "&".join(f"{key}={quote(text, safe='')}" for key, text in said.items())
        return config | {"url": f"{receiver.url}?{query}"}
    headers = {f"X-{key.capitalize()}": {"values": [text]} for key, text in said.items()}
    return config | {"http_config": config.get("http_config", {}) | {"http_headers": headers}}


def _discord(receiver: Receiver, where: Where) -> dict[str, Any]:
    return {"webhook_url_file": where(receiver.url_file), "title": TITLE, "message": TEXT}


def _slack(receiver: Receiver, where: Where) -> dict[str, Any]:
    return {
        "api_url_file": where(receiver.url_file),
        **({"channel": receiver.channel} if receiver.channel else {}),
        "title": TITLE,
        "fallback": TITLE,
        "text": TEXT,
        # Commands are not to lose what Slack takes for markup.
        "mrkdwn_in": ["pretext"],
    }


def _telegram(receiver: Receiver, where: Where) -> dict[str, Any]:
    return {
        "bot_token_file": where(receiver.token_file),
        "chat_id": receiver.chat,
        "message": f"{TITLE}\n\n{TEXT}",
        # Plain: `<` and `&` of a command would not be HTML.
        "parse_mode": "",
    }


def _pushover(receiver: Receiver, where: Where) -> dict[str, Any]:
    return {
        "token_file": where(receiver.token_file),
        "user_key_file": where(receiver.user_key_file),
        "title": TITLE,
        "message": TEXT,
        "priority": PUSHOVER_PRIORITY,
    }


def _email(receiver: Receiver, where: Where) -> dict[str, Any]:
    login = {
        "auth_username": receiver.username,
        "auth_password_file": where(receiver.password_file),
    }
    return {
        "to": receiver.to,
        "from": receiver.sender,
        "smarthost": receiver.smarthost,
        **(login if receiver.username else {}),
        "require_tls": receiver.tls,
        "headers": {"Subject": TITLE},
        "html": "",
        "text": TEXT,
    }


_KINDS: dict[Service, tuple[str, Callable[[Receiver, Where], dict[str, Any]]]] = {
    Service.NTFY: ("webhook_configs", _ntfy),
    Service.DISCORD: ("discord_configs", _discord),
    Service.SLACK: ("slack_configs", _slack),
    Service.TELEGRAM: ("telegram_configs", _telegram),
    Service.PUSHOVER: ("pushover_configs", _pushover),
    Service.EMAIL: ("email_configs", _email),
    Service.WEBHOOK: ("webhook_configs", _webhook),
}
