"""`smolmon exporter` from the outside, as far as that needs no network namespace."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from smolmon.commands.exporter import exporter
from smolmon.exporter import host
from smolmon.exporter.web import listener

GUIDE = str(Path(__file__).parents[2] / "examples" / "guide.yaml")


def call(*arguments):
    return CliRunner().invoke(exporter, ["--cluster", GUIDE, *arguments])


def test_an_unknown_node_gets_the_nearest_name():
    result = call("--node", "mini9")
    assert result.exit_code == 2
    assert re.fullmatch(
        r"\S+guide.yaml: there is no node `mini9`; did you mean `mini\d`\?\n", result.stderr
    )


def test_a_node_like_no_other_gets_the_list():
    result = call("--node", "xyz")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "it has mini1, mini2, mini3, pi5, pi4, jetson" in result.stderr


@pytest.mark.parametrize(
    "listen", ["9742", ":9742", "mini1:9742", "10.0.0.1:", "10.0.0.1:99999", "10.0.0.1:²", "::1"]
)
def test_a_bad_endpoint_is_wrong_usage(listen):
    result = call("--node", "mini1", "--listen", listen)
    assert result.exit_code == 2
    assert f"{listen!r} is not an address and a port" in result.stderr


def test_a_missing_file_is_one_line():
    result = CliRunner().invoke(exporter, ["--node", "mini1", "--cluster", "nowhere.yaml"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_a_port_in_use_is_one_line():
    taken = listener("127.0.0.1", 0)
    port = taken.getsockname()[1]
    result = call("--node", "mini1", "--listen", f"127.0.0.1:{port}")
    taken.close()
    assert result.exit_code == 1
    assert result.stderr == (
        f"cannot listen on 127.0.0.1, port {port}: Address already in use; see `--listen`\n"
    )


def test_macos_is_told_that_it_has_to_wait(monkeypatch):
    monkeypatch.setattr(host.sys, "platform", "darwin")
    result = call("--node", "mini1", "--listen", "127.0.0.1:0")
    assert result.exit_code == 1
    assert result.stderr == "the exporter does not run on macOS yet; it runs on Linux\n"
