"""Who is told of alerts: the section `notify` of a cluster file, as data."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

DEFAULT_LOCAL = "http://127.0.0.1:9099/"


class Severity(str, Enum):
    """How bad it is: the label `severity` of every alert that anybody is told of."""

    CRITICAL = "critical"  # training cannot go on
    WARNING = "warning"


class Service(str, Enum):
    """What a receiver is."""

    NTFY = "ntfy"
    DISCORD = "discord"
    SLACK = "slack"
    TELEGRAM = "telegram"
    PUSHOVER = "pushover"
    EMAIL = "email"
    WEBHOOK = "webhook"


@frozen
class Receiver:
    """One place that notifications go to. Of its settings only those of its kind are not empty.

    What ends in `_file` is the path of a file that holds the secret, as in the cluster file:
    absolute, or relative to its folder. No secret itself is ever here.
    """

    name: str
    kind: Service
    severities: tuple[Severity, ...] = tuple(Severity)
    url: str = ""
    url_file: str = ""
    token_file: str = ""
    user_key_file: str = ""
    password_file: str = ""
    username: str = ""
    to: str = ""
    sender: str = ""
    smarthost: str = ""  # host:port
    tls: bool = True
    chat: int = 0
    channel: str = ""

    def files(self) -> dict[str, str]:
        """The files of secrets that it needs, by key."""
        named = {
            "url_file": self.url_file,
            "token_file": self.token_file,
            "user_key_file": self.user_key_file,
            "password_file": self.password_file,
        }
        return {key: path for key, path in named.items() if path}


@frozen
class Heartbeat:
    """A service outside that raises the alarm when it is not called `every` so many seconds."""

    url_file: str
    every: float = 60.0


@frozen
class Notify:
    """The whole section. `local` is a URL without internet in between; empty for none.

    An alert that goes on is told of again after `repeat_critical` or `repeat_warning` seconds.
    """

    receivers: tuple[Receiver, ...] = ()
    local: str = DEFAULT_LOCAL
    heartbeat: Heartbeat | None = None
    repeat_critical: float = 4 * 3600.0
    repeat_warning: float = 12 * 3600.0
