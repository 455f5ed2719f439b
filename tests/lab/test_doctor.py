"""`smolmon doctor` on the emulated cluster: the cause, the repair, with and without Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.client import Lab, example, refuse_to_replace_a_lab, smolmon, until

pytestmark = [pytest.mark.lab, pytest.mark.long]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    refuse_to_replace_a_lab()
    file = example("guide.yaml", tmp_path_factory.mktemp("cluster"), linux=True)
    smolmon("lab", "up", "--cluster", str(file), "--speed", "20")
    try:
        yield Lab(file)
    finally:
        smolmon("lab", "down")


def doctor(lab: Lab, *options: str) -> tuple[int, dict[str, Any]]:
    done = lab.run("controller", "smolmon", "doctor", "--json", *options, check=False)
    assert done.stdout.startswith("{"), done.stderr
    return done.returncode, json.loads(done.stdout)


def found(lab: Lab) -> set[tuple[str, str]]:
    """What is certain: (alert, node)."""
    _, report = doctor(lab)
    return {(f["alert"], f["node"]) for f in report["findings"] if f["certain"]}


def healthy(lab: Lab) -> bool:
    return doctor(lab)[0] == 0


def break_and_heal(lab: Lab, fault: str, node: str, cause: tuple[str, str]) -> dict[str, Any]:
    smolmon("lab", "break", fault, "--node", node)
    until(f"doctor names {cause}", lambda: cause in found(lab))
    code, report = doctor(lab, "--fix", "--yes")
    assert code == 0, report
    assert {"alert": cause[0], "node": cause[1]} in report["repair"]["healed"]
    assert report["repair"]["nodes"] == [cause[1]]
    smolmon("lab", "heal", fault)
    return report


OFF = ("forwarding-off", "mini3", ("SmolmonForwardingDisabled", "mini3"))
NO_RETURN = ("return-route-gone", "mini1", ("SmolmonReturnRouteMissing", "mini1"))


def test_with_prometheus(lab: Lab) -> None:
    until("the cluster is healthy", lambda: healthy(lab))
    smolmon("lab", "break", "forwarding-off", "--node", "mini3")
    cut = {("SmolmonServerUnreachable", "pi4"), ("SmolmonServerUnreachable", "jetson")}

    def explaining() -> dict[str, Any] | None:
        for finding in doctor(lab)[1]["findings"]:
            if {(s["alert"], s["node"]) for s in finding["suppresses"]} == cut:
                return dict(finding)
        return None

    finding = until("doctor names the cause and what it explains", explaining)
    assert (finding["alert"], finding["node"]) == OFF[2]
    assert finding["fix"] == "ssh mini3 sudo sysctl -w net.ipv4.ip_forward=1"
    text = lab.run("controller", "smolmon", "doctor", check=False)
    assert text.returncode == 1
    assert finding["fix"] in text.stdout
    smolmon("lab", "heal")

    for fault in (OFF, NO_RETURN):
        until("the cluster is healthy", lambda: healthy(lab))
        assert break_and_heal(lab, *fault)["source"] == "prometheus"


def test_without_prometheus(lab: Lab) -> None:
    lab.run("controller", "systemctl", "stop", "smolmon-prometheus")
    try:
        until("the exporters are healthy", lambda: healthy(lab))
        for fault in (OFF, NO_RETURN):
            report = break_and_heal(lab, *fault)
            assert report["source"] == "exporters"
            assert "refuses the connection" in report["prometheus"]["error"]
    finally:
        lab.run("controller", "systemctl", "start", "smolmon-prometheus")


def test_a_dead_exporter_is_no_dead_node(lab: Lab) -> None:
    lab.run("controller", "systemctl", "stop", "smolmon-prometheus")
    try:
        smolmon("lab", "break", "exporter-dead", "--node", "pi4")
        assert found(lab) == {("SmolmonExporterDown", "pi4")}
        code, report = doctor(lab, "--fix", "--yes")
        assert code == 0, report
        smolmon("lab", "heal")

        smolmon("lab", "break", "node-dead", "--node", "pi4")
        down = {("SmolmonNodeDown", "pi4")}
        until("nobody hears it any more", lambda: found(lab) == down)
        code, report = doctor(lab, "--fix", "--yes")
        assert code == 1
        assert report["repair"]["nodes"] == []
        assert report["findings"][0]["how"] == "Remedy"
        smolmon("lab", "heal")
        until("it is back", lambda: healthy(lab))
    finally:
        lab.run("controller", "systemctl", "start", "smolmon-prometheus")
