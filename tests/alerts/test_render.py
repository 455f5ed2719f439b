"""`smolmon render`: what it writes is valid, follows from the cluster, and harms no other file."""

from __future__ import annotations

import json
import os
import ssl
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from smolmon.alerts import speed
from smolmon.alerts.render import HEADER, TLS, RenderError, Trust, render, shipped_rules, write
from smolmon.cli import cli
from smolmon.cluster import load
from smolmon.dashboards import provisioning
from tests.alerts.scenarios import GUIDE, NESTED, ROOT

Tool = Callable[[str], str]
EXAMPLE = ROOT / "examples" / "guide.yaml"
TRUST = Trust("certificate", "key", "authority")
FILES = {
    f"{TLS}/guide/authority.crt",
    f"{TLS}/guide/prometheus.crt",
    f"{TLS}/guide/prometheus.key",
    "prometheus/prometheus.yml",
    "prometheus/prometheus.flags",
    "prometheus/targets/guide.json",
    "alertmanager/alertmanager.yml",
    "alertmanager/smolmon.tmpl",
    *(f"prometheus/rules/{name}" for name in shipped_rules()),
    *provisioning.texts([load(EXAMPLE)], HEADER, "5s"),
}


def smolmon_render(directory: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["render", str(directory), "--cluster", str(EXAMPLE), *options])


def written(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def check(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("factor", ["1", "2.5", "10", "60", "1000"])
@pytest.mark.parametrize("cluster", [GUIDE, NESTED], ids=lambda c: c.name)
def test_prometheus_and_alertmanager_accept_it(
    tool: Tool, tmp_path: Path, cluster: Any, factor: str
) -> None:
    write(
        tmp_path,
        render(cluster, TRUST, float(factor), "https://ntfy.sh/topic?template=alertmanager"),
    )
    check(tool("promtool"), "check", "config", tmp_path / "prometheus" / "prometheus.yml")
    check(tool("amtool"), "check-config", tmp_path / "alertmanager" / "alertmanager.yml")


def test_it_prints_what_it_wrote(tmp_path: Path) -> None:
    result = smolmon_render(tmp_path / "new" / "folder")
    assert result.exit_code == 0
    assert written(tmp_path / "new" / "folder") == FILES
    assert set(result.output.split()) == {str(tmp_path / "new" / "folder" / f) for f in FILES}


def test_prometheus_shows_a_certificate_and_finds_it_wherever_the_folder_is(
    tool: Tool, tmp_path: Path
) -> None:
    smolmon_render(tmp_path / "made")
    (tmp_path / "made").rename(tmp_path / "mounted")
    config = tmp_path / "mounted" / "prometheus" / "prometheus.yml"
    check(tool("promtool"), "check", "config", config)
    scrape, *_ = yaml.safe_load(config.read_text())["scrape_configs"]
    assert scrape["scheme"] == "https"
    files = {k: config.parent / v for k, v in scrape["tls_config"].items() if k.endswith("_file")}
    context = ssl.create_default_context(cafile=files["ca_file"])
    context.load_cert_chain(files["cert_file"], files["key_file"])  # they belong together
    assert "insecure_skip_verify" not in scrape["tls_config"]
    # promtool looks whether they are there.
    files["key_file"].unlink()
    with pytest.raises(AssertionError, match=r"prometheus\.key"):
        check(tool("promtool"), "check", "config", config)


def test_the_key_is_for_its_owner_alone_and_a_second_run_keeps_it(tmp_path: Path) -> None:
    smolmon_render(tmp_path)
    key = tmp_path / TLS / "guide" / "prometheus.key"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "PRIVATE KEY" not in smolmon_render(tmp_path).output
    assert key.read_bytes() == before
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_user_whom_the_key_was_given_to_keeps_it(tmp_path: Path) -> None:
    smolmon_render(tmp_path)
    key = tmp_path / TLS / "guide" / "prometheus.key"
    os.chown(key, 12345, 12346)
    smolmon_render(tmp_path)
    assert (key.stat().st_uid, key.stat().st_gid) == (12345, 12346)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_key_that_is_somebody_else_s_stops_us_before_anything_is_written() -> None:
    # Not pytest's own folder, which nobody else may enter.
    with TemporaryDirectory(dir="/tmp") as folder:
        here = Path(folder)
        here.chmod(0o777)
        write(here, render(GUIDE, TRUST))
        config = here / "prometheus" / "prometheus.yml"
        before = config.read_text()
        os.seteuid(65534)
        try:
            with pytest.raises(RenderError, match=r"prometheus\.key: belongs to another") as error:
                write(here, render(GUIDE, TRUST, 10))
        finally:
            os.seteuid(0)
        assert "\n" not in str(error.value)
        assert config.read_text() == before


def test_an_authority_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept" / "guide"
    kept.mkdir(parents=True, mode=0o700)
    (kept / "authority.crt").write_text("x")
    monkeypatch.setenv("SMOLMON_CONFIG", str(kept.parent))
    result = smolmon_render(tmp_path / "out")
    assert result.exit_code == 2
    assert result.output.startswith(f"{kept / 'authority.key'}: is not there")
    assert result.output.count("\n") == 1
    assert written(tmp_path / "out") == set()


def test_every_node_is_a_target_at_its_management_address() -> None:
    groups = json.loads(render(GUIDE, TRUST)["prometheus/targets/guide.json"])
    assert {g["labels"]["node"]: g["targets"] for g in groups} == {
        node.name: [f"{node.management}:9742"] for node in GUIDE.nodes
    }
    labels = {g["labels"]["node"]: g["labels"] for g in groups}
    assert labels["mini1"] == {
        "cluster": "guide",
        "node": "mini1",
        "role": "server",
        "segment": "fabric",
    }
    assert labels["jetson"] == {
        "cluster": "guide",
        "node": "jetson",
        "role": "worker",
        "gateway": "mini3",
        "segment": "edge51",
    }


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=SmolmonForwardingDisabled", "class=cause", "severity=critical"], "local"),
        (["alertname=SmolmonServerUnreachable", "class=symptom", "severity=critical"], "local"),
        (["alertname=SmolmonExplained", "class=explained", "severity=none"], "null"),
        (["alertname=Watchdog", "class=meta", "severity=none"], "null"),
    ],
)
def test_routes(tool: Tool, tmp_path: Path, labels: list[str], receiver: str) -> None:
    write(tmp_path, render(GUIDE, TRUST))
    config = f"--config.file={tmp_path / 'alertmanager' / 'alertmanager.yml'}"
    routed = check(tool("amtool"), "config", "routes", "test", config, *labels)
    assert routed.strip() == receiver


def durations(texts: dict[str, str]) -> dict[str, str]:
    """Where each duration of the configuration stands, and what it is."""
    found = {}
    for name, text in texts.items():
        if not name.endswith(".yml"):
            continue
        config = yaml.safe_load(text)
        for key, value in (config.get("global") or {}).items():
            found[key] = value
        for route in [config.get("route", {}), *config.get("route", {}).get("routes", ())]:
            found |= {
                f"{'/'.join(route.get('matchers', ['all']))} {key}": value
                for key, value in route.items()
                if key.endswith(("_wait", "_interval"))
            }
        for group in config.get("groups", ()):
            found |= {
                f"{rule['alert']} {key}": rule[key]
                for rule in group["rules"]
                for key in ("for", "keep_firing_for")
                if key in rule
            }
    return found


def test_speed_divides_every_duration_as_far_as_it_works() -> None:
    real, fast, faster = (durations(render(GUIDE, TRUST, factor)) for factor in (1, 5, 60))
    assert real.keys() == fast.keys() == faster.keys()
    cause = "SmolmonForwardingDisabled"
    symptom = 'class=~"symptom|performance" group_wait'
    assert [real["scrape_interval"], fast["scrape_interval"], faster["scrape_interval"]] == [
        "5s",
        "1s",
        "1s",
    ]
    assert [d[f"{cause} for"] for d in (real, fast, faster)] == ["10s", "2s", "2s"]
    assert [d[f"{cause} keep_firing_for"] for d in (real, fast, faster)] == ["20s", "4s", "4s"]
    assert [d["SmolmonServerUnreachable for"] for d in (real, fast, faster)] == ["30s", "6s", "4s"]
    assert [d["all repeat_interval"] for d in (real, fast, faster)] == ["4h", "48m", "4m"]
    assert [d["all group_interval"] for d in (real, fast, faster)] == ["30s", "6s", "1s"]
    assert [d[symptom] for d in (real, fast, faster)] == ["15s", "3s", "3s"]


def test_a_cause_is_notified_within_half_a_minute() -> None:
    real = durations(render(GUIDE, TRUST))
    waits = ("scrape_interval", "evaluation_interval", "all group_wait")
    for alert in ("ForwardingDisabled", "ReturnRouteMissing", "RouteMissing"):
        total = sum(speed.seconds(real[key]) for key in (*waits, f"Smolmon{alert} for"))
        assert total < 30


def test_ranges_are_divided_and_all_else_stays() -> None:
    rule = (
        "groups:\n  - rules: # for: 1h\n"
        '      - expr: rate(a{b="[1h]"}[1h30m]) > 5 or c[20s]\n'
        "        for: 10m\n"
        "        keep_firing_for: 250ms\n"
    )
    assert speed.scale_rules(rule, 1) == rule
    assert speed.scale_rules(rule, 10) == (
        "groups:\n  - rules: # for: 1h\n"
        '      - expr: rate(a{b="[6m]"}[9m]) > 5 or c[4s]\n'
        "        for: 1m\n"
        "        keep_firing_for: 4s\n"
    )


def test_what_nodes_do_at_their_own_pace_is_not_divided_below_it() -> None:
    rule = (
        "  expr: |\n    rate(a[5m]) # at least 60s\n    / b[5m]\n"
        "  for: 30s # at least 7s\n"
        "  keep_firing_for: 2m # while nodes recover\n"
    )
    assert speed.scale_rules(rule, 2) == (
        "  expr: |\n    rate(a[150s]) # at least 60s\n    / b[150s]\n"
        "  for: 15s # at least 7s\n"
        "  keep_firing_for: 1m # while nodes recover\n"
    )
    assert speed.scale_rules(rule, 30) == (
        "  expr: |\n    rate(a[1m]) # at least 60s\n    / b[10s]\n"
        "  for: 7s # at least 7s\n"
        "  keep_firing_for: 4s # while nodes recover\n"
    )


@pytest.mark.parametrize("text", ["5s", "250ms", "90s", "1h", "36h", "1500ms"])
def test_durations_are_written_as_they_are_read(text: str) -> None:
    assert speed.seconds(speed.duration(speed.seconds(text))) == speed.seconds(text)


@pytest.mark.parametrize("text", ["", "5", "s", "1.5s", "-5s", "5 s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        speed.seconds(text)


def test_a_second_run_replaces_the_first_and_nothing_else(tmp_path: Path) -> None:
    smolmon_render(tmp_path, "--speed", "10")
    rules = tmp_path / "prometheus" / "rules"
    (rules / "retired.yml").write_text(HEADER + "groups: []\n")
    (rules / "mine.yml").write_text("groups: []\n")
    assert smolmon_render(tmp_path).exit_code == 0
    assert written(tmp_path) == FILES | {"prometheus/rules/mine.yml"}
    assert (tmp_path / "prometheus" / "prometheus.yml").read_text() == render(GUIDE, TRUST)[
        "prometheus/prometheus.yml"
    ]


def test_the_configuration_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "prometheus" / "prometheus.yml"
    theirs.parent.mkdir()
    theirs.write_text("global: {}\n")
    result = smolmon_render(tmp_path)
    assert result.exit_code == 2
    assert result.output == f"{theirs}: not written by smolmon render; move it away first\n"
    assert written(tmp_path) == {"prometheus/prometheus.yml"}
    assert theirs.read_text() == "global: {}\n"


def test_a_failed_write_leaves_every_file_as_it_was(tmp_path: Path) -> None:
    smolmon_render(tmp_path)
    before = (tmp_path / "prometheus" / "prometheus.yml").read_bytes()
    texts = {"prometheus/prometheus.yml": HEADER, "last.yml": HEADER + "\udc80"}  # not encodable
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path, texts)
    assert (tmp_path / "prometheus" / "prometheus.yml").read_bytes() == before
    assert written(tmp_path) == FILES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--speed", "0"], "--speed: 0 is not a number from 1 to 1000"),
        (["--speed", "fast"], "--speed: fast is not a number from 1 to 1000"),
        (["--speed", "nan"], "--speed: nan is not a number from 1 to 1000"),
        (["--webhook", "ntfy.sh/x"], "--webhook: 'ntfy.sh/x' is not a URL"),
        (["--webhook", "http://"], "--webhook: 'http://' is not a URL"),
        (["--webhook", "http://a:b/"], "--webhook: 'http://a:b/' is not a URL"),
        (["--webhook", "http://a/ b"], "--webhook: 'http://a/ b' is not a URL"),
    ],
)
def test_wrong_usage_is_told_in_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    result = smolmon_render(tmp_path, *options)
    assert result.exit_code == 2
    assert result.output.startswith(message)
    assert result.output.count("\n") == 1
    assert written(tmp_path) == set()


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = smolmon_render(tmp_path / "file")
    assert result.exit_code == 2
    assert "cannot be written: Not a directory" in result.output
    assert result.output.count("\n") == 1
