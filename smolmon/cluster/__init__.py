"""The declared cluster: load, validate, derive. Pure: no I/O but reading the file."""

from smolmon.cluster.load import ClusterError, load, parse
from smolmon.cluster.model import (
    Apart,
    Bandwidth,
    Baseline,
    Cabling,
    Cluster,
    Expectation,
    Internet,
    Kind,
    Member,
    Node,
    Platform,
    Segment,
    Server,
)
from smolmon.cluster.monitor import Monitor, RemoteWrite

__all__ = [
    "Apart",
    "Bandwidth",
    "Baseline",
    "Cabling",
    "Cluster",
    "ClusterError",
    "Expectation",
    "Internet",
    "Kind",
    "Member",
    "Monitor",
    "Node",
    "Platform",
    "RemoteWrite",
    "Segment",
    "Server",
    "load",
    "parse",
]
