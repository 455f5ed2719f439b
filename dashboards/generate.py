"""The boards as files: written, or compared with what is committed. `scripts/generate` runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from smolmon.dashboards.boards import boards
from smolmon.dashboards.mend import Json

FOLDER = Path("dashboards/json")


def text(board: Json) -> str:
    """A board as its file has it."""
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def _outdated(wanted: dict[Path, str]) -> Iterator[Path]:
    for path, content in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            yield path
    yield from (path for path in FOLDER.glob("*.json") if path not in wanted)


def main(arguments: list[str]) -> int:
    """Write the boards, or with `--check` compare them. 0: they are up to date."""
    if arguments not in ([], ["--check"]):
        print("usage: scripts/generate [--check]", file=sys.stderr)  # noqa: T201
        return 2
    wanted = {FOLDER / f"{name}.json": text(board) for name, board in boards().items()}
    outdated = list(_outdated(wanted))
    if arguments:
        for path in outdated:
            print(f"{path} is out of date; run scripts/generate", file=sys.stderr)  # noqa: T201
        return 1 if outdated else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in outdated:
        if path in wanted:
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
