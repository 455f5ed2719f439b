"""Prometheus' configuration for every kind of monitor, judged by its own programs, old and new."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve
from click.testing import CliRunner

from smolmon.alerts.notify import alertmanager
from smolmon.alerts.prometheus import Names, config, flags, interval
from smolmon.alerts.render import RenderError, Trust, render, write
from smolmon.alerts.speed import seconds
from smolmon.cli import cli
from smolmon.cluster import Cluster, Monitor, RemoteWrite
from smolmon.cluster.notify import Notify
from tests.alerts.scenarios import GUIDE, NESTED, ROOT
from tests.programs import NEWER, OLDER, program

TRUST = Trust("certificate", "key", "authority")
STORE = RemoteWrite("https://metrics.example/api/v1/write", "home", "secrets/password")
TOKEN = RemoteWrite("https://metrics.example/api/v1/write", credentials_file="secrets/token")
IN_COMPOSE = Names("http://prometheus:9090", "http://alertmanager:9093", "http://store:8428")


def watched(cluster: Cluster = GUIDE, **monitor: Any) -> Cluster:
    return evolve(cluster, monitor=Monitor(**monitor))


MONITORS: dict[str, tuple[list[Cluster], Names]] = {
    "usual": ([GUIDE], Names()),
    "compose": ([GUIDE], IN_COMPOSE),
    "several": ([GUIDE, NESTED], Names()),
    "labels": ([watched(external_labels=(("site", "attic: 'x'"),))], Names()),
    "remote": ([watched(remote_write=(STORE, TOKEN))], Names()),
    "agent": ([watched(remote_write=(STORE,), agent=True)], Names()),
    "elsewhere": (
        [watched(alertmanager="https://alerts.lan", prometheus="http://10.0.0.1:99")],
        Names(),
    ),
}


def written(clusters: Sequence[Cluster], names: Names, folder: Path) -> Path:
    first, *others = clusters
    write(folder, render(first, TRUST, others=dict.fromkeys(others, TRUST), names=names))
    secrets = folder / "prometheus" / "secrets"
    secrets.mkdir()
    for name in ("password", "token"):
        (secrets / name).write_text("x")
    return folder / "prometheus" / "prometheus.yml"


@pytest.mark.parametrize("age", [OLDER, NEWER])
@pytest.mark.parametrize("kind", MONITORS)
def test_old_and_new_programs_accept_it(kind: str, age: str, tmp_path: Path) -> None:
    clusters, names = MONITORS[kind]
    file = written(clusters, names, tmp_path)
    promtool = [program("promtool", age), "check", "config"]
    if kind == "agent":
        promtool.append("--agent")
    for command in (
        [*promtool, str(file)],
        [program("amtool", age), "check-config", str(tmp_path / "alertmanager/alertmanager.yml")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def jobs(made: dict[str, Any]) -> dict[str, Any]:
    return {job["job_name"]: job for job in made["scrape_configs"]}


def where(section: dict[str, Any]) -> list[str]:
    return [t for group in section["static_configs"] for t in group["targets"]]


def test_prometheus_and_alertmanager_are_scraped_too() -> None:
    made = config([GUIDE], 1, Names())
    assert list(jobs(made)) == ["smolmon-guide", "prometheus", "alertmanager"]
    assert where(jobs(made)["prometheus"]) == ["127.0.0.1:9090"]
    assert where(jobs(made)["alertmanager"]) == ["127.0.0.1:9093"]
    assert where(made["alerting"]["alertmanagers"][0]) == ["127.0.0.1:9093"]


def test_in_containers_they_are_found_by_name() -> None:
    made = config([GUIDE], 1, IN_COMPOSE)
    assert where(jobs(made)["prometheus"]) == ["127.0.0.1:9090"]
    assert where(jobs(made)["alertmanager"]) == ["alertmanager:9093"]
    assert [r["url"] for r in made["remote_write"]] == ["http://store:8428/api/v1/write"]


def test_an_alertmanager_of_one_s_own_is_used_everywhere() -> None:
    for names in (Names(), IN_COMPOSE):
        made = config([watched(alertmanager="https://alerts.lan")], 1, names)
        for section in (jobs(made)["alertmanager"], made["alerting"]["alertmanagers"][0]):
            assert (section["scheme"], where(section)) == ("https", ["alerts.lan:443"])


def test_several_clusters_are_told_apart_and_asked_for_alike() -> None:
    made = config([GUIDE, NESTED], 1, Names())
    ours = [job for name, job in jobs(made).items() if name.startswith("smolmon-")]
    assert len(ours) == 2
    assert {job["relabel_configs"][0]["replacement"] for job in ours} == {"smolmon"}
    for key in ("ca_file", "cert_file", "key_file"):
        assert len({job["tls_config"][key] for job in ours}) == 2
    # Neither is the cluster of what belongs to no node.
    assert "external_labels" not in made["global"]
    assert config([GUIDE], 1, Names())["global"]["external_labels"] == {"cluster": "guide"}


def test_an_agent_has_neither_rules_nor_alerts_and_says_so_on_its_command_line() -> None:
    clusters = [watched(remote_write=(STORE,), agent=True)]
    made = config(clusters, 1, Names())
    assert not made.keys() & {"rule_files", "alerting"}
    assert "evaluation_interval" not in made["global"]
    assert list(jobs(made)) == ["smolmon-guide", "prometheus"]
    assert flags(clusters[0].monitor) == "--agent\n"
    assert flags(clusters[0].monitor, "/data") == "--agent\n--storage.agent.path=/data/agent\n"
    assert flags(Monitor(retention="1y")).startswith("--storage.tsdb.retention.time=1y\n")
    assert flags(Monitor(), "/data").endswith("--storage.tsdb.path=/data/tsdb\n")


@pytest.mark.parametrize("speed", [1, 5])
def test_what_is_over_is_repeated_within_a_group_interval(speed: float) -> None:
    """Else the ends of earlier alerts, each in an interval of its own, repeat what still fires."""
    told = dict(flag.split("=") for flag in flags(Monitor(), speed=speed).split())
    every = interval(Monitor(), speed)
    # At the first evaluation after the delay.
    repeated = (seconds(told["--rules.alert.resend-delay"]) // every + 1) * every
    assert repeated <= seconds(alertmanager(speed, Notify())["route"]["group_interval"])


@pytest.mark.parametrize("age", [OLDER, NEWER])
def test_prometheus_reads_its_flags_from_the_file(age: str, tmp_path: Path) -> None:
    (tmp_path / "prometheus.flags").write_text(flags(Monitor(retention="5x")))
    command = [program("prometheus", age), "@prometheus.flags"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "5x" in done.stderr


def test_no_secret_is_read_or_written() -> None:
    texts = render(watched(remote_write=(STORE,)), TRUST)
    remote = yaml.safe_load(texts["prometheus/prometheus.yml"])["remote_write"]
    assert remote[0]["basic_auth"] == {"username": "home", "password_file": "secrets/password"}


def test_clusters_that_disagree_about_their_monitor_are_one_line() -> None:
    other = watched(NESTED, retention="1y")
    # One may leave it to the other.
    assert (
        "retention.time=1y"
        in render(GUIDE, TRUST, others={other: TRUST})["prometheus/prometheus.flags"]
    )
    with pytest.raises(RenderError, match=r"guide, .*: their `monitor` sections differ"):
        render(watched(retention="2y"), TRUST, others={other: TRUST})
    with pytest.raises(RenderError, match="guide: two cluster files have this name"):
        render(GUIDE, TRUST, others={watched(retention="2y"): TRUST})


def smolmon_render(folder: Path, *examples: str) -> str:
    named = [a for e in examples for a in ("-c", str(ROOT / "examples" / e))]
    result = CliRunner().invoke(cli, ["render", str(folder), *named])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_cluster_that_is_named_no_longer_leaves_nothing_behind(tmp_path: Path) -> None:
    smolmon_render(tmp_path, "guide.yaml", "switch.yaml")
    prometheus = tmp_path / "prometheus"
    (prometheus / "tls" / "mine").mkdir()
    (prometheus / "tls" / "mine" / "my.key").write_text("mine")
    key = (prometheus / "tls/guide/prometheus.key").read_bytes()
    assert (prometheus / "tls/switch/prometheus.key").exists()
    homes = tmp_path / "grafana/provisioning/dashboards/smolmon"
    assert (homes / "home-switch.json").exists()

    smolmon_render(tmp_path, "guide.yaml")
    assert (prometheus / "tls/guide/prometheus.key").read_bytes() == key
    assert not (prometheus / "tls/switch").exists()
    assert not (prometheus / "targets/switch.json").exists()
    assert not (homes / "home-switch.json").exists()
    assert (prometheus / "tls/mine/my.key").read_text() == "mine"
