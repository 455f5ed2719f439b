"""What the controller machine gets beside the others."""

from __future__ import annotations

import re
from importlib.metadata import packages_distributions, requires

import pytest

from smolmon.lab.controller import DEPENDENCIES, binds
from smolmon.lab.errors import LabError


def test_it_sees_every_dependency() -> None:
    declared = {re.split(r"[^A-Za-z0-9_.-]", line)[0].lower() for line in requires("smolmon") or ()}
    owners = packages_distributions()
    seen = {owners[module][0].lower().replace("_", "-") for module in DEPENDENCIES}
    # What is compiled for one Python must be seen even where it is somebody else's need.
    assert seen - declared == {"cffi"}
    assert any(line.startswith("cffi") for line in requires("cryptography") or ())
    assert declared < seen


def test_the_fewest_mounts() -> None:
    assert binds(["/a", "/a/b", "/c d"]) == ["/a", "/c d"]
    with pytest.raises(LabError, match="cannot be mounted"):
        binds(["/a:b"])
