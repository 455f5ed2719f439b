"""What the controller brings to a node."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class Bundle:
    """The files for one node, and what is known of its peers.

    `agent` and `cluster_file` are contents. `macs` are the MAC addresses of the other members of
    its segments, by segment and node, as far as they are known.
    """

    agent: bytes = field(repr=False)
    cluster_file: bytes = field(repr=False)
    macs: Mapping[tuple[str, str], str] = field(factory=dict)
