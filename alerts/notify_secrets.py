"""The files of secrets that receivers need: what is wrong with them, as far as can be seen here."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from smolmon.cluster.notify import Notify, Service

# Alertmanager sends what these hold as it stands (an email's password since 0.27 without).
NOT_TRIMMED = {(Service.PUSHOVER, "token_file"), (Service.PUSHOVER, "user_key_file")}
NOT_TRIMMED |= {(Service.EMAIL, "password_file")}


def notes(notify: Notify, folder: Path) -> Iterator[str]:
    """A line for each file that is not there, or not as it must be. Never what a file holds."""
    if notify.heartbeat:
        yield from _of_file("notify.heartbeat.url_file", folder / notify.heartbeat.url_file, False)
    for receiver in notify.receivers:
        for key, path in receiver.files().items():
            where = f"notify.receivers.{receiver.name}.{key}"
            yield from _of_file(where, folder / path, (receiver.kind, key) in NOT_TRIMMED)


def _of_file(key: str, path: Path, as_it_stands: bool) -> Iterator[str]:
    try:
        content = path.read_bytes()
        mode = path.stat().st_mode
    except FileNotFoundError:
        yield f"note: {key}: {path} is not there yet; this receiver is told nothing until it is"
        return
    except OSError as error:
        yield f"note: {key}: {path} cannot be read here: {error.strerror}; Alertmanager must"
        return
    if not content.strip():
        yield f"note: {key}: {path} is empty; write the secret into it"
    elif len(content.split()) > 1 and key.endswith("url_file"):
        yield f"note: {key}: {path} must hold one URL and nothing else"
    elif as_it_stands and content != content.strip():
        yield (
            f"note: {key}: {path} ends in a line break or a space, which would be sent as part of "
            "the secret; write it with printf"
        )
    if mode & stat.S_IROTH:
        yield f"note: {key}: everybody on this machine can read {path}; chmod o-r {path}"
