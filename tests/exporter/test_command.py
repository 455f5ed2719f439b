"""`smolmon exporter` from the outside, as far as that needs no network namespace."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from smolmon.commands.exporter import exporter
from smolmon.exporter import host
from smolmon.exporter.web import listener
from tests.exporter.certificates import authority

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
    """On a node it is setup that puts it there, and not init."""
    result = CliRunner().invoke(exporter, ["--node", "mini1", "--cluster", "nowhere.yaml"])
    assert result.exit_code == 2
    assert result.stderr == (
        "nowhere.yaml: is not there; `smolmon setup` at the controller writes one, or name yours "
        "with --cluster FILE\n"
    )


def test_a_port_in_use_is_one_line():
    taken = listener("127.0.0.1", 0)
    port = taken.getsockname()[1]
    result = call("--node", "mini1", "--listen", f"127.0.0.1:{port}")
    taken.close()
    assert result.exit_code == 1
    assert result.stderr == (
        f"cannot listen on 127.0.0.1, port {port}: Address already in use; see `--listen`\n"
    )


def test_another_system_is_told_which_ones_it_could_be(monkeypatch):
    monkeypatch.setattr(host.sys, "platform", "freebsd14")
    result = call("--node", "mini1", "--listen", "127.0.0.1:0")
    assert result.exit_code == 1
    assert result.stderr == "the exporter runs on Linux and macOS, not on freebsd14\n"


def test_a_bad_web_configuration_is_one_line(tmp_path):
    config = tmp_path / "web.yml"
    config.write_text("basic_auth_users: {me: secret}\n")
    result = call("--node", "mini1", "--web.config.file", str(config))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "web.yml:1: basic_auth_users: " in result.stderr
    config.write_text("tls_server_config: {cert_file: a, key_file: b}\n")
    result = call("--node", "mini1", "--web.config.file", str(config))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "/a: cannot be read: No such file or directory" in result.stderr


@pytest.mark.parametrize(
    ("mutual", "address"), [(None, "127.0.0.1"), (False, "127.0.0.1"), (True, "192.168.1.11")]
)
def test_it_listens_on_loopback_unless_clients_need_certificates(
    tmp_path, monkeypatch, mutual, address
):
    asked = []

    def refuse(address, port, prepare):
        asked.append((address, port))
        raise OSError(99, "no")

    monkeypatch.setattr("smolmon.exporter.web.listener", refuse)
    options = []
    if mutual is not None:
        pair = authority(tmp_path)
        auth = ", client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert"
        config = tmp_path / "web.yml"
        config.write_text(
            f"tls_server_config: {{cert_file: {pair.cert}, key_file: {pair.key}"
            f"{auth if mutual else ''}}}\n"
        )
        options = ["--web.config.file", str(config)]
    assert call("--node", "mini1", *options).exit_code == 1
    assert asked == [(address, 9742)]


def test_json_goes_with_once():
    result = call("--node", "mini1", "--json")
    assert result.exit_code == 2
    assert "--json goes with --once" in result.stderr
