"""The files that setup installs on a Mac. Pure."""

from __future__ import annotations

from smolmon.setup.bundle import Bundle
from smolmon.setup.listening import listen_address
from smolmon.setup.macos import launchd
from smolmon.setup.macos.facts import Facts
from smolmon.setup.macos.fence import fence_files
from smolmon.setup.macos.files import WantedFile
from smolmon.setup.macos.neighbours import Macs, entries, neighbour_files
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


def files(wanted: Wanted, facts: Facts, bundle: Bundle) -> tuple[WantedFile, ...]:
    """Every file that `wanted` needs on its node, in the order of installation."""
    python = facts.python.path if facts.python else "/usr/bin/python3"
    listen = listen_address(wanted, facts)
    tls = bundle.identity is not None
    plist = launchd.exporter(python, wanted.node, listen, facts.group, tls=tls)
    return (
        *network_files(wanted, facts, bundle.macs),
        WantedFile(AGENT, "the agent", bundle.agent, EXPORTER),
        WantedFile(CLUSTER, "the cluster file", bundle.cluster_file, EXPORTER),
        *_tls(bundle, facts.group),
        WantedFile(daemon_file(EXPORTER), "the exporter's daemon", plist, EXPORTER),
    )


def network_files(wanted: Wanted, facts: Facts, macs: Macs) -> tuple[WantedFile, ...]:
    """Those that the network needs: without forwarding nothing gets through a gateway."""
    forwarding = WantedFile(
        daemon_file(FORWARDING), "the forwarding daemon", launchd.forwarding(), FORWARDING
    )
    return (
        *([forwarding] if wanted.forwarding else []),
        *fence_files(wanted),
        *neighbour_files(entries(wanted, facts, macs)),
    )


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
