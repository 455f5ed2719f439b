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
    "Node",
    "Platform",
    "Segment",
    "Server",
    "load",
    "parse",
]
