"""What the controller brings to a node."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class Identity:
    """What one end of a scrape proves itself with, and whom it believes; PEM.

    `window`: from when the other end's certificate is valid, and when it is due to be renewed, in
    Unix seconds.
    """

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    authority: bytes = field(repr=False)
    window: tuple[int, int] | None = None


@frozen
class Bundle:
    """The files for one node, and what is known of its peers.

    `agent` and `cluster_file` are contents. Without an `identity` the exporter is not encrypted.
    `macs` are the MAC addresses of the members of its segments, by segment and node, as far as
    they are known.
    """

    agent: bytes = field(repr=False)
    cluster_file: bytes = field(repr=False)
    identity: Identity | None = None
    macs: Mapping[tuple[str, str], str] = field(factory=dict)
