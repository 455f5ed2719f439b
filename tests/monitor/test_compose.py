"""docker-compose.yml: what Compose itself makes of it, and what every service must hold to."""

from __future__ import annotations

import json
import os
import re
import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from smolmon.cluster import Cluster, load
from smolmon.compose import settings
from smolmon.compose.engine import ComposeError, Engine
from tests.alerts.scenarios import ROOT
from tests.programs import NEWER, program

FILE = ROOT / "docker-compose.yml"
# Root, or without a health check, for the reasons that stand there.
PRIVILEGED, ONCE = "lab", "long-term-folder"


def compose(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Compose's own reading of the file; needs no daemon."""
    command = [program("docker-compose", NEWER), "--file", str(FILE), *arguments]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SMOLMON_", "COMPOSE_"))}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=clean | settings
    )


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    done = compose("--profile", "*", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no warning either
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_compose_finds_a_mistake(tmp_path: Path) -> None:
    """So what it accepts below means something."""
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(FILE.read_text().replace("    networks: [monitor]", "    netwroks: []", 1))
    command = [program("docker-compose", NEWER), "--file", str(broken), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "netwroks" in done.stderr


def test_what_starts_by_default_and_what_only_when_asked_for(services: dict[str, Any]) -> None:
    asked = {name: s["profiles"][0] for name, s in services.items() if "profiles" in s}
    assert services.keys() - asked.keys() == {"prometheus", "alertmanager", "grafana"}
    assert asked == {"long-term": "long-term", ONCE: "long-term", "lab": "lab"}


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert name == PRIVILEGED or re.fullmatch(r"v?\d+\.\d+\.\d+", tag), service["image"]
        # Podman asks no registry by default where the name has none.
        assert name == PRIVILEGED or service["image"].startswith("docker.io/")
    base = (ROOT / "deploy/lab.Dockerfile").read_text().split("FROM ")[1].split()[0]
    assert re.fullmatch(r"docker\.io/library/debian:\d+\.\d+-slim", base)


def test_every_port_is_on_loopback(services: dict[str, Any]) -> None:
    published = [p for s in services.values() for p in s.get("ports", [])]
    assert len(published) == 6
    assert {p["host_ip"] for p in published} == {"127.0.0.1"}
    assert not any(s.get("network_mode") == "host" for s in services.values())


def test_no_service_has_more_rights_than_it_needs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name == PRIVILEGED:
            continue
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        if name != ONCE:
            assert service["user"] == "65534:65534", name
            assert "cap_add" not in service, name
    assert services[ONCE]["cap_add"] == ["CHOWN"]
    assert services[ONCE]["network_mode"] == "none"


def test_every_service_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    without = {name for name, s in services.items() if "healthcheck" not in s}
    assert without == {ONCE}
    assert services[ONCE]["restart"] == "no"
    waited = services["long-term"]["depends_on"][ONCE]["condition"]
    assert waited == "service_completed_successfully"


def test_what_is_mounted_of_this_machine_cannot_be_written(services: dict[str, Any]) -> None:
    mounts = [m for s in services.values() for m in s["volumes"]]
    assert {m["type"] for m in mounts} == {"bind", "volume"}
    assert all(m["read_only"] for m in mounts if m["type"] == "bind")


def test_grafana_lets_nobody_in_and_its_password_is_a_file(services: dict[str, Any]) -> None:
    grafana = services["grafana"]
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in grafana["environment"]
    (secret,) = grafana["secrets"]
    said = grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert secret["target"] in (said, Path(said).name)


def test_it_is_shipped_with_the_command() -> None:
    assert (ROOT / "smolmon/compose/docker-compose.yml").read_bytes() == FILE.read_bytes()


def test_the_settings_that_up_writes_reach_compose(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    chosen = settings.ports(folder, {"SMOLMON_GRAFANA_PORT": "3001"})
    file = settings.write(folder, Engine(("docker", "compose"), 1234), chosen, "10.1.2.0/24")
    done = compose("--env-file", str(file), "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["services"]["grafana"]["ports"][0]["published"] == "3001"
    assert made["services"]["prometheus"]["user"] == "1234:65534"
    sources = [v["source"] for v in made["services"]["prometheus"]["volumes"]]
    assert f"{folder}/prometheus" in sources
    assert made["networks"]["monitor"]["ipam"]["config"] == [{"subnet": "10.1.2.0/24"}]
    # A later run without the variable keeps the port.
    assert settings.ports(folder, {})["grafana"] == 3001


def test_the_password_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    engine = Engine(("docker", "compose"), 1234)
    chosen = settings.ports(tmp_path, {})
    file = tmp_path / settings.PASSWORD
    settings.write(tmp_path, engine, chosen, "10.1.2.0/24")
    first = file.read_text()
    assert len(first) >= 20
    assert file.stat().st_mode & 0o777 == 0o600
    settings.write(tmp_path, engine, chosen, "10.1.2.0/24")
    assert file.read_text() == first
    assert first not in (tmp_path / settings.ENVIRONMENT).read_text()


def test_the_containers_subnet_is_nobody_else_s(tmp_path: Path) -> None:
    cluster = load(ROOT / "examples" / "guide.yaml")

    def subnet(cluster: Cluster, *, emulated: bool = False) -> str:
        return settings.subnet([cluster], tmp_path, {}, emulated=emulated)

    usual = subnet(cluster)
    assert usual == "10.213.97.0/24"
    segment = evolve(cluster.segments[0], subnet=IPv4Network("10.213.0.0/16"))
    moved = evolve(cluster, segments=(segment, *cluster.segments[1:]))
    other = subnet(moved)
    assert not IPv4Network(other).overlaps(IPv4Network("10.213.0.0/16"))
    near = evolve(moved.nodes[0], management="172.30.5.6")
    assert subnet(evolve(moved, nodes=(near, *moved.nodes[1:]))) not in (usual, other)
    # The lab and the real monitor run beside each other.
    assert subnet(cluster, emulated=True) != usual


def test_a_subnet_that_was_named_once_is_kept(tmp_path: Path) -> None:
    cluster = load(ROOT / "examples" / "guide.yaml")
    named = settings.subnet([cluster], tmp_path, {"SMOLMON_SUBNET": "10.1.2.0/24"})
    assert named == "10.1.2.0/24"
    engine = Engine(("docker", "compose"), 1234)
    settings.write(tmp_path, engine, settings.ports(tmp_path, {}), named)
    assert settings.subnet([cluster], tmp_path, {}) == named
    # One of those that it chooses from, too, unless the cluster comes to use it.
    other = settings.SUBNETS[1]
    assert settings.subnet([cluster], tmp_path, {"SMOLMON_SUBNET": other}) == other
    settings.write(tmp_path, engine, settings.ports(tmp_path, {}), other)
    assert settings.subnet([cluster], tmp_path, {}) == other
    segment = evolve(cluster.segments[0], subnet=IPv4Network(other))
    moved = evolve(cluster, segments=(segment, *cluster.segments[1:]))
    assert settings.subnet([moved], tmp_path, {}) == settings.SUBNETS[0]
    with pytest.raises(ComposeError, match=r"SMOLMON_SUBNET: '10.1.2.3/24' is not a subnet such"):
        settings.subnet([cluster], tmp_path, {"SMOLMON_SUBNET": "10.1.2.3/24"})
