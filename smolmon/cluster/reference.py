"""The tables of keys in docs/, from the table of keys. Written by `scripts/generate`.

Each stands between two marks in a page that is otherwise written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from smolmon.cluster.keys import KEYS, Key

DOCS = Path(__file__).parents[2] / "docs"
# The page with the keys of each section that has one of its own.
PAGES = {
    "bandwidth": "bandwidth.md",
    "monitor": "monitor.md",
    "notify": "notifications.md",
}
CLUSTER = "cluster-file.md"
# What the page of the whole file says of the other sections: meaning, default.
ELSEWHERE = {
    "bandwidth": (
        "when and how links are tested: [bandwidth.md](bandwidth.md#the-section-bandwidth-of-the-"
        "cluster-file)",
        "an hour's period",
    ),
    "monitor": (
        "Prometheus and its kin: [monitor.md](monitor.md#the-section-monitor)",
        "all on one machine, 90 days",
    ),
    "notify": (
        "who is told of alerts, by what service: [notifications.md](notifications.md)",
        "a local receiver",
    ),
}
MARKED = re.compile(r"<!-- keys: .*? -->\n.*?<!-- /keys -->\n", re.DOTALL)
MARK = "<!-- keys: smolmon/cluster/keys.py, by scripts/generate -->"


def table(page: str) -> str:
    """The table of `page`, with its marks."""
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows(page))
    return f"{MARK}\n| key | type | meaning | default |\n|---|---|---|---|\n{rows}<!-- /keys -->\n"


def _rows(page: str) -> Iterator[tuple[str, str, str, str]]:
    told = set()
    for key in KEYS.values():
        section, _, rest = key.path.partition(".")
        if page == PAGES.get(section):
            yield _row(key, rest)
        elif page == CLUSTER and section not in PAGES:
            yield _row(key, key.path)
        elif page == CLUSTER and section not in told:
            told.add(section)
            meaning, default = ELSEWHERE[section]
            yield f"`{section}`", "section", meaning, default


def _row(key: Key, name: str) -> tuple[str, str, str, str]:
    required = ["required"] if key.required else []
    default = "; ".join([*required, key.default] if key.default else required)
    return f"`{name}`", key.type, key.meaning, default


def written(page: str, text: str) -> str:
    """The `text` of a page with its table as it should be. Raises ValueError without marks."""
    if len(MARKED.findall(text)) != 1:
        raise ValueError(f"docs/{page} must have one table between {MARK} and <!-- /keys -->")
    return MARKED.sub(lambda _: table(page), text)


def main(arguments: list[str]) -> int:
    """Write the tables; with `--check`, say whether they are up to date."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: scripts/generate [--check]\n")
        return 2
    stale = []
    for page in (CLUSTER, *PAGES.values()):
        file = DOCS / page
        text = file.read_text(encoding="utf-8")
        wanted = written(page, text)
        if text == wanted:
            continue
        if arguments:
            stale.append(f"docs/{page}")
        else:
            file.write_text(wanted, encoding="utf-8")
    if stale:
        sys.stderr.write(f"{', '.join(stale)}: out of date; run scripts/generate\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
