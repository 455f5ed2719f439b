"""The agent: smolmon's exporter and all it needs in one file that any Python 3.10 runs.

A zipapp of pure Python: no package manager and no internet is needed on the node. It is built the
same, byte for byte, from the same sources, so that its hash tells whether a node has this one.

It holds sources and no compiled code, which only one version of Python could load: that costs half
a second at each start (a few on a Raspberry Pi 4) and spares a second copy on the node to keep
right.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import smolmon

# Distributions, by the names they are installed under.
DEPENDENCIES = (
    "attrs",
    "click",
    "icmplib",
    "iperf3",
    "prometheus-client",
    "pyroute2",
    "PyYAML",
)
# What of smolmon runs on a node, relative to the package.
PARTS = (
    "*.py",
    "cluster/**/*.py",
    "exporter/**/*.py",
    "macos/**/*.py",
    "commands/__init__.py",
    "commands/options.py",
    "commands/exporter.py",
    "commands/bandwidth.py",
)
# The earliest time that a zip file can tell.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = b"from smolmon.__main__ import main\n\nmain()\n"


class AgentError(Exception):
    """The agent cannot be built from what is installed here. One line."""


def build(package: Path | None = None) -> bytes:
    """The agent, made of the running smolmon (or the package at `package`). Raises AgentError."""
    root = package or Path(smolmon.__path__[0])
    files = {"__main__.py": _MAIN}
    for name, content in (*_ours(root), *_dependencies()):
        files[name] = content
    if "smolmon/commands/exporter.py" not in files:
        raise AgentError(f"{root} holds no exporter; install smolmon again")
    buffer = io.BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _ours(root: Path) -> Iterator[tuple[str, bytes]]:
    for pattern in PARTS:
        # In a checkout the rooms are symbolic links, which a recursive pattern does not follow.
        first, _, rest = pattern.partition("/")
        base, inner = (root / first, rest) if rest else (root, pattern)
        for path in base.resolve().glob(inner):
            name = PurePosixPath("smolmon", first if rest else "", path.relative_to(base.resolve()))
            yield str(name), path.read_bytes()


def _dependencies() -> Iterator[tuple[str, bytes]]:
    import importlib.metadata  # noqa: PLC0415 - slow, and most commands need no agent

    for name in DEPENDENCIES:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise AgentError(f"{name} is not installed here; install smolmon again") from None
        modules = 0
        for file in distribution.files or ():
            path = Path(str(file.locate()))
            # Of a package that an old pip built, the list has what stayed behind, like setup.py.
            if not path.is_file():
                continue
            if (file.suffix == ".py" and _wanted(file)) or _licence(file):
                modules += file.suffix == ".py"
                yield file.as_posix(), path.read_bytes()
        if not modules:
            raise AgentError(f"{name} is not whole here; install smolmon again")


def _wanted(file: PurePosixPath) -> bool:
    """Neither tests nor anything that was installed outside of site-packages."""
    return ".." not in file.parts and not {"tests", "test", "__pycache__"} & set(file.parts)


def _licence(file: PurePosixPath) -> bool:
    """The texts that must go with every copy."""
    return file.parts[0].endswith(".dist-info") and file.name.upper().startswith(
        ("LICEN", "COPYING", "NOTICE", "AUTHORS")
    )
