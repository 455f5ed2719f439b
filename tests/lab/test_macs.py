"""The guide's cluster with its Macs, at real speed: provisioned, a cause named, and repaired."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.client import Lab, example, refuse_to_replace_a_lab, smolmon, until


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Provisioned by `smolmon setup`, every exporter scraped."""
    path = example("guide.yaml", tmp_path_factory.mktemp("cluster"))
    refuse_to_replace_a_lab()
    try:
        smolmon("lab", "up", "--cluster", str(path))
        yield Lab(path)
    finally:
        smolmon("lab", "down")


def on_controller(*command: str) -> str:
    return smolmon("lab", "exec", "controller", "--", *command).stdout


def test_macs_and_linux_nodes_are_as_expected(lab: Lab) -> None:
    assert "checks are as expected" in on_controller("smolmon", "verify")


def test_a_second_setup_changes_nothing(lab: Lab) -> None:
    plan = on_controller("smolmon", "setup", "--plan")
    assert "mini1: nothing to do" in plan
    assert "mini3: nothing to do" in plan


def test_after_a_reboot_there_is_still_nothing_to_do(lab: Lab) -> None:
    smolmon("lab", "reboot", "mini1", "mini3", "pi4")

    def nothing_to_do() -> bool:
        return (
            smolmon(
                *("lab", "exec", "controller", "--", "smolmon", "setup", "--plan"), check=False
            ).returncode
            == 0
        )

    until("nothing to do", nothing_to_do)


def test_a_mac_that_does_not_forward_is_named_and_its_repair_works(lab: Lab) -> None:
    until("no alert", lab.quiet, 180)
    before = len(lab.notifications())
    smolmon("lab", "break", "forwarding-off", "--node", "mini3")
    first = until("a notification", lambda: lab.notifications()[before:])[0]
    assert (first["alert"], first["node"]) == ("SmolmonForwardingDisabled", "mini3")
    assert first["fix"] == "ssh mini3 sudo sysctl -w net.inet.ip.forwarding=1"
    on_controller("sh", "-c", first["fix"])
    read = smolmon("lab", "exec", "mini3", "--", "sysctl", "-n", "net.inet.ip.forwarding")
    assert read.stdout.strip() == "1"
