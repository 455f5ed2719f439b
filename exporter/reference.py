"""The reference of the metrics, docs/metrics.md, from the table that they are made from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from smolmon.exporter.vocabulary import TABLE, Entry

FILE = Path("docs/metrics.md")

INTRODUCTION = """\
# Metrics

Everything that `smolmon exporter` exports, at `/metrics`. This page is generated from
[exporter/vocabulary.py](../exporter/vocabulary.py) by `scripts/generate`; edit the table there.

- What is expected is exported beside what is observed, so that rules compare metric with metric
  and know no address of any cluster.
- What is not known is absent, never 0. What is declared and missing is there, as 0.
- The series of a peer that is no longer in the cluster file go; those of all others are kept when
  the file is read again.
- Units are base units (seconds, bytes). Counters end in `_total`; what ends in `_info` is always 1,
  and says what it says in its labels.
- Prometheus adds `cluster`, `node`, `role`, `segment`, `gateway` and `instance` to each of them.
- A histogram `X` is exported as `X_bucket`, with one more label `le`, `X_count` and `X_sum`. Every
  declared threshold is the end of a bucket, so the share of replies above it is exact.

`smolmon exporter --once` shows the same as a table for people.
"""

# By the first word of the name.
SECTIONS = {
    "Pings": ("ping", "scheduler", "probe", "clock"),
    "Checks": ("check",),
    "Paths and routes": ("path", "route", "default", "ip"),
    "Interfaces and neighbours": ("network", "cable", "address", "neighbor", "wifi"),
    "Bandwidth": ("bandwidth",),
    "The training server": ("tcp", "listener", "training"),
    "Firewall": ("firewall",),
}
ITSELF = "The node and the exporter"

PROCESS = """
Besides, in the names that all of Prometheus' client libraries use: `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_start_time_seconds`,
`process_open_fds`, `process_max_fds` and `python_info`.
"""


def text() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(_sections()) + PROCESS


def _sections() -> Iterator[str]:
    groups: dict[str, list[Entry]] = {title: [] for title in (*SECTIONS, ITSELF)}
    for entry in TABLE.values():
        word = entry.name.split("_")[1]
        title = next((t for t, words in SECTIONS.items() if word in words), ITSELF)
        groups[title].append(entry)
    for title, entries in groups.items():
        yield f"\n## {title}\n\n"
        yield from _table(
            (e.name, e.type.value, ", ".join(f"`{label}`" for label in e.labels), e.help)
            for e in entries
        )


def _table(rows: Iterator[tuple[str, str, str, str]]) -> Iterator[str]:
    yield "| metric | type | labels | what it says |\n|---|---|---|---|\n"
    for name, kind, labels, said in rows:
        yield f"| `{name}` | {kind} | {labels} | {said.replace('|', chr(92) + '|')} |\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` compare it. 0: it is up to date."""
    if arguments not in ([], ["--check"]):
        print("usage: scripts/generate [--check]", file=sys.stderr)  # noqa: T201
        return 2
    if not arguments:
        FILE.write_text(text(), encoding="utf-8")
        return 0
    if FILE.exists() and FILE.read_text(encoding="utf-8") == text():
        return 0
    print(f"{FILE} is out of date; run scripts/generate", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
