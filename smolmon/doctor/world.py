"""All that is known at one moment without Prometheus: what the exporters say, who is silent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import define, field

from smolmon.cluster import Cluster, derive
from smolmon.observe.sample import Sample

Labels = Mapping[str, str]
Key = tuple[str, ...]
Hit = tuple[str, Labels]  # an alert, and what of

PORT = ("node", "link")


@define
class World:
    """The samples of one scrape of every node, by metric.

    `present` are the machines that answer at their management address, though their exporter
    may not; `expired` those whose certificate has ended. `now` is when that was, in Unix seconds by
    this machine's clock.
    """

    cluster: Cluster
    up: frozenset[str]
    present: frozenset[str]
    now: float
    expired: frozenset[str] = frozenset()
    # What the rule's expression gives, where its text says that: by alert and node.
    values: dict[tuple[str, str], float] = field(factory=dict)
    by_name: dict[str, list[Sample]] = field(factory=lambda: defaultdict(list))

    @property
    def samples(self) -> list[Sample]:
        """All of them."""
        return [sample for samples in self.by_name.values() for sample in samples]

    @property
    def down(self) -> list[str]:
        """The nodes whose exporter says nothing, in the file's order."""
        return [node.name for node in self.cluster.nodes if node.name not in self.up]

    def add(self, name: str, value: float = 1.0, /, **labels: str) -> None:
        """Note what a recording rule would."""
        labels = {"cluster": self.cluster.name, **labels}
        self.by_name[name].append(Sample(name, labels, value, self.now))

    def where(self, name: str, value: float | None = None, **labels: str) -> Iterator[Labels]:
        """The labels of the samples of a metric, that have this value and these labels."""
        for sample in self.by_name.get(name, ()):
            if (value is None or sample.value == value) and all(
                sample.labels.get(key, "") == wanted for key, wanted in labels.items()
            ):
                yield sample.labels

    def keys(self, name: str, value: float | None, *by: str, **labels: str) -> set[Key]:
        """The values of the labels `by` of those samples."""
        return {key(found, *by) for found in self.where(name, value, **labels)}


def world(
    cluster: Cluster, samples: Iterable[Sequence[Sample]], silent: Mapping[str, bool], now: float
) -> World:
    """The world of these samples; `silent` are the nodes that gave none, and whether they live."""
    names = [node.name for node in cluster.nodes]
    up = frozenset(name for name in names if name not in silent)
    made = World(cluster, up, up | {name for name, there in silent.items() if there}, now)
    for some in samples:
        for sample in some:
            made.by_name[sample.name].append(sample)
    for name in names:
        labels = {"job": "smolmon", **derive.labels(cluster, name)}
        made.by_name["up"].append(Sample("up", labels, float(name in up), now))
    return made


def key(labels: Labels, *by: str) -> Key:
    """The values of the labels `by`."""
    return tuple(labels.get(name, "") for name in by)
