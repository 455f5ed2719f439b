"""The files that setup installs on a Mac. Pure."""

from __future__ import annotations

from attrs import field, frozen

from smolmon.setup.bundle import Bundle
from smolmon.setup.listening import listen_address
from smolmon.setup.macos import launchd
from smolmon.setup.macos.facts import Facts
from smolmon.setup.macos.tools import (
    AGENT,
    AUTHORITY,
    CERTIFICATE,
    CLUSTER,
    EXPORTER,
    FORWARDING,
    KEY,
    PATHS,
    WEB,
    daemon_file,
)
from smolmon.setup.macos.wanted import Wanted
from smolmon.setup.web import web_config

# What installing and undoing need for a while.
LEFTOVERS = tuple(path + suffix for path in PATHS for suffix in (".new", ".previous"))


@frozen
class WantedFile:
    """A file and its content, owned by root.

    `daemon` is the label of the daemon that must start anew for it, `group` is whose it is if not
    the folder's. `mode` holds at every moment, also while it is written.
    """

    path: str
    what: str
    content: bytes = field(repr=False)
    daemon: str | None = None
    mode: int = 0o644
    group: str | None = None


def files(wanted: Wanted, facts: Facts, bundle: Bundle) -> tuple[WantedFile, ...]:
    """Every file that `wanted` needs on its node, in the order of installation."""
    python = facts.python.path if facts.python else "/usr/bin/python3"
    listen = listen_address(wanted, facts)
    tls = bundle.identity is not None
    plist = launchd.exporter(python, wanted.node, listen, facts.group, tls=tls)
    return (
        *network_files(wanted),
        WantedFile(AGENT, "the agent", bundle.agent, EXPORTER),
        WantedFile(CLUSTER, "the cluster file", bundle.cluster_file, EXPORTER),
        *_tls(bundle, facts.group),
        WantedFile(daemon_file(EXPORTER), "the exporter's daemon", plist, EXPORTER),
    )


def network_files(wanted: Wanted) -> tuple[WantedFile, ...]:
    """Those that the network needs: without forwarding nothing gets through a gateway."""
    if not wanted.forwarding:
        return ()
    plist = launchd.forwarding()
    return (WantedFile(daemon_file(FORWARDING), "the forwarding daemon", plist, FORWARDING),)


def _tls(bundle: Bundle, group: str) -> tuple[WantedFile, ...]:
    """The exporter runs as `nobody`: its group may read the key, and nobody else."""
    found = bundle.identity
    if found is None:
        return ()
    web = web_config(CERTIFICATE, KEY, AUTHORITY)
    return (
        WantedFile(AUTHORITY, "the authority's certificate", found.authority, EXPORTER),
        WantedFile(CERTIFICATE, "the node's certificate", found.certificate, EXPORTER),
        WantedFile(KEY, "the node's key", found.key, EXPORTER, 0o440, group),
        WantedFile(WEB, "the web configuration", web, EXPORTER),
    )
