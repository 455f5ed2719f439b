"""Metrics as the text that Prometheus reads.

Two forms: Prometheus' own (prometheus.io/docs/instrumenting/exposition_formats) and OpenMetrics
1.0 (openmetrics.io). The client library writes both, in six times the time: on a Raspberry Pi a
large cluster's scrape would keep the interpreter from the pings for seconds.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from itertools import accumulate

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

REMEMBERED = 16384  # label sets whose text is kept, of 300 bytes each
REMEMBERED_HISTOGRAMS = 1024  # of 3 kB each


class Form(str, Enum):
    """The content types on offer."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Rows(Metric):
    """Counters, gauges or infos kept as rows: label values (in the order of `labels`), value.

    A row is a small part of the sample that it stands for. `sample` is the samples' name.
    """

    def __init__(self, sample: str, text: str, kind: str, unit: str, labels: Sequence[str]) -> None:
        self.rows: list[tuple[tuple[str, ...], float]] = []
        self.labels = tuple(labels)
        self.sample = sample
        # A counter's or info's family goes without the end of its samples' name.
        end = {"counter": "_total", "info": "_info"}.get(kind, "")
        super().__init__(sample.removesuffix(end), text, kind, unit)

    @property
    def samples(self) -> list[Sample]:
        """The rows as the client library has them."""
        return [
            Sample(self.sample, dict(zip(self.labels, values, strict=True)), value)
            for values, value in self.rows
        ]

    @samples.setter
    def samples(self, value: list[Sample]) -> None:
        """The base class starts with none."""


class Buckets(Metric):
    """A histogram kept as rows, which are a tenth of the samples that they stand for.

    A row has label values (in the order of `labels`), the number of observations in each bucket
    (they do not accumulate; the last is what lies above all edges), and their sum.
    """

    def __init__(self, name: str, text: str, unit: str, labels: Sequence[str]) -> None:
        self.rows: list[tuple[tuple[str, ...], Sequence[int], float]] = []
        self.labels = tuple(labels)
        self.edges: tuple[str, ...] = ()
        super().__init__(name, text, "histogram", unit)

    @property
    def samples(self) -> list[Sample]:
        """The rows as the client library has them."""
        return list(self._samples())

    @samples.setter
    def samples(self, value: list[Sample]) -> None:
        """The base class starts with none."""

    def _samples(self) -> Iterator[Sample]:
        for values, counts, total in self.rows:
            labels = dict(zip(self.labels, values, strict=True))
            below = 0
            for edge, count in zip(self.edges, counts, strict=True):
                below += count
                yield Sample(f"{self.name}_bucket", {**labels, "le": edge}, below)
            yield Sample(f"{self.name}_count", labels, below)
            yield Sample(f"{self.name}_sum", labels, total)


def negotiate(accept: str) -> Form:
    """The form that an Accept header likes best; Prometheus' own where it says nothing."""
    best, form = 0.0, Form.TEXT
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        options = dict(p.split("=", 1) for p in parameters if "=" in p)
        liked = _quality(options.get("q", "1"))
        if kind == "application/openmetrics-text" and options.get("version", "1.0.0") == "1.0.0":
            offered = Form.OPENMETRICS
        elif kind in ("text/plain", "text/*", "*/*"):
            offered = Form.TEXT
        else:
            continue
        if liked > best:
            best, form = liked, offered
    return form


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header has gzip, with a quality above 0."""
    for entry in accept_encoding.split(","):
        coding, *parameters = (part.strip().lower() for part in entry.split(";"))
        if coding in ("gzip", "*"):
            options = dict(p.split("=", 1) for p in parameters if "=" in p)
            return _quality(options.get("q", "1")) > 0
    return False


def compress(body: bytes) -> bytes:
    """`body`, gzipped. The fastest level: the text repeats itself so much that any will do."""
    return gzip.compress(body, compresslevel=1, mtime=0)


def encode(metrics: Iterable[Metric], form: Form) -> bytes:
    """`metrics` as text. Those of one name, from several collectors, become one family."""
    families: dict[str, list[Metric]] = {}
    for metric in metrics:
        families.setdefault(metric.name, []).append(metric)
    parts: list[str] = []
    for group in families.values():
        parts += _header(group[0], form)
        for metric in group:
            parts += _lines(metric)
    if form is Form.OPENMETRICS:
        parts.append("# EOF\n")
    return "".join(parts).encode()


def _header(metric: Metric, form: Form) -> Iterator[str]:
    name, kind = metric.name, metric.type
    text = metric.documentation.replace("\\", r"\\").replace("\n", r"\n")
    if form is Form.OPENMETRICS:
        yield f"# HELP {name} {text.replace(chr(34), chr(92) + chr(34))}\n# TYPE {name} {kind}\n"
        if metric.unit:
            yield f"# UNIT {name} {metric.unit}\n"
        return
    if kind == "counter":
        name += "_total"
    elif kind == "info":
        name, kind = f"{name}_info", "gauge"
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _lines(metric: Metric) -> Iterator[str]:
    if isinstance(metric, Buckets):
        for values, counts, total in metric.rows:
            below = tuple(accumulate(counts))
            form = _bucket_form(metric.name, metric.labels, values, metric.edges)
            yield form % (*below, below[-1], _number(total))
    elif isinstance(metric, Rows):
        name, labels = metric.sample, metric.labels
        for values, value in metric.rows:
            yield f"{name}{_braces(labels, values)} {_number(value)}\n"
    else:
        for sample in metric.samples:
            braces = _braces(tuple(sample.labels), tuple(sample.labels.values()))
            yield f"{sample.name}{braces} {_number(sample.value)}\n"


# The same labels come back in every scrape, and making their text is most of the work.
@lru_cache(maxsize=REMEMBERED)
def _braces(labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = [f'{n}="{_escape(v)}"' for n, v in zip(labels, values, strict=True)]
    return f"{{{','.join(pairs)}}}" if pairs else ""


@lru_cache(maxsize=REMEMBERED_HISTOGRAMS)
def _bucket_form(
    name: str, labels: tuple[str, ...], values: tuple[str, ...], edges: tuple[str, ...]
) -> str:
    """The lines of a histogram's row, with room (%) for the buckets, the count and the sum."""
    braces = _braces(labels, values)
    start = f"{name}_bucket{braces[:-1]}," if braces else f"{name}_bucket{{"
    form = "".join([f'{start}le="{e}"}} \n' for e in edges])
    form += f"{name}_count{braces} \n{name}_sum{braces} \n"
    return form.replace("%", "%%").replace(" \n", " %s\n")


def _escape(value: str) -> str:
    if value.isalnum():
        return value
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if isinstance(value, int):  # a truth value too
        return str(int(value))
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
