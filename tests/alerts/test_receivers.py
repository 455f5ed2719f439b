"""Each kind of receiver: Alertmanager accepts it, routes to it, and what arrives is readable."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve
from click.testing import CliRunner

from smolmon.alerts.notify_text import NTFY_MESSAGE
from smolmon.alerts.render import Trust, render, write
from smolmon.cli import cli
from smolmon.cluster import Cluster, parse
from tests.alerts.scenarios import GUIDE, ROOT
from tests.programs import NEWER, program

Tool = Callable[[str], str]
TRUST = Trust("certificate", "key", "authority")
TEXT = (ROOT / "examples" / "guide.yaml").read_text()

# A line of the cluster file for each kind, and the Alertmanager that it needs.
EVERY = {
    "ntfy": ("{kind: ntfy, url: 'http://ntfy.home/alerts', token_file: secrets/a}", (0, 25)),
    "ntfy-secret": ("{kind: ntfy, url_file: secrets/a}", (0, 28)),
    "discord": ("{kind: discord, url_file: secrets/a}", (0, 28)),
    "slack": ("{kind: slack, url_file: secrets/a, channel: '#lab'}", (0, 25)),
    "telegram": ("{kind: telegram, token_file: secrets/a, chat: -100123}", (0, 26)),
    "pushover": ("{kind: pushover, token_file: secrets/a, user_key_file: secrets/b}", (0, 26)),
    "email": (
        "{kind: email, to: a@b.example, from: c@b.example, smarthost: 'b.example:587', "
        "username: c, password_file: secrets/a}",
        (0, 25),
    ),
    "webhook": ("{kind: webhook, url: 'https://hook.example/', token_file: secrets/a}", (0, 25)),
    "webhook-secret": ("{kind: webhook, url_file: secrets/a}", (0, 28)),
}
LINES = {name: line for name, (line, _) in EVERY.items()}
# What an older Alertmanager knows instead. It is not what smolmon writes, but all else is.
LITERAL = {
    "bot_token_file": "bot_token",
    "user_key_file": "user_key",
    "token_file": "token",
    "webhook_url_file": "webhook_url",
    "url_file": "url",
}


def cluster_with(receivers: dict[str, str], rest: str = "") -> Cluster:
    lines = "".join(f"    {name}: {line}\n" for name, line in receivers.items())
    return parse(f"{TEXT}notify:\n{rest}  receivers:\n{lines}")


def amtool(program: str, *arguments: str | Path) -> str:
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def version(program: str) -> tuple[int, int]:
    found = re.search(r"version (\d+)\.(\d+)", amtool(program, "--version"))
    assert found
    return int(found[1]), int(found[2])


def rendered(folder: Path, cluster: Cluster, understood: tuple[int, int]) -> Path:
    """alertmanager.yml; for an Alertmanager too old to read secrets elsewhere, with them in it."""
    write(folder, render(cluster, TRUST, secrets=Path("/etc/smolmon")))
    path = folder / "alertmanager" / "alertmanager.yml"
    if understood < (0, 28):
        config = yaml.safe_load(path.read_text())
        for receiver in config["receivers"]:
            for section in receiver:
                for one in receiver[section] if section.endswith("_configs") else ():
                    _older(one)
        path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _older(config: dict[str, Any]) -> None:
    config.get("http_config", {}).pop("http_headers", None)
    for key, instead in LITERAL.items():
        if key in config:
            config[instead] = "http://secret.example/" if "url" in key else config.pop(key)
            config.pop(key, None)


@pytest.mark.parametrize("name", EVERY)
def test_alertmanager_accepts_it_and_routes_to_it(tool: Tool, tmp_path: Path, name: str) -> None:
    cluster = cluster_with({name: EVERY[name][0]})
    config = rendered(tmp_path, cluster, version(tool("amtool")))
    assert "1 templates" in amtool(tool("amtool"), "check-config", config)
    test = ("config", "routes", "test", f"--config.file={config}", "alertname=X")
    for labels in (["severity=critical", "class=cause"], ["severity=warning", "class=symptom"]):
        assert amtool(tool("amtool"), *test, *labels).strip() == f"local,{name}"
    assert amtool(tool("amtool"), *test, "severity=none", "class=meta").strip() == "null"


@pytest.mark.parametrize("name", EVERY)
def test_alertmanager_knows_it_since_the_version_that_the_docs_say(
    tool: Tool, tmp_path: Path, name: str
) -> None:
    line, needed = EVERY[name]
    config = rendered(tmp_path, cluster_with({name: line}), (9, 9))
    done = subprocess.run([tool("amtool"), "check-config", config], check=False)
    understood = version(tool("amtool"))
    if understood >= needed:
        assert done.returncode == 0
    elif understood == (0, 25):  # those in between know some of them, with faults
        assert done.returncode == 1


def test_all_at_once_with_a_newer_alertmanager(tmp_path: Path) -> None:
    newer = program("amtool", NEWER)
    cluster = cluster_with(
        {n: line for n, (line, _) in EVERY.items()}, "  heartbeat: {url_file: s}\n"
    )
    config = rendered(tmp_path, cluster, version(newer))
    assert f"{len(EVERY) + 3} receivers" in amtool(newer, "check-config", config)


def routed(tool: Tool, config: Path, *labels: str) -> str:
    test = ("config", "routes", "test", f"--config.file={config}")
    return amtool(tool("amtool"), *test, *labels).strip()


def test_who_is_told_of_what(tool: Tool, tmp_path: Path) -> None:
    hook = "{kind: webhook, url: 'http://hook.example/'"
    cluster = cluster_with(
        {
            "night": f"{hook}, severities: [critical]}}",
            "day": f"{hook}, severities: [warning]}}",
            "always": f"{hook}}}",
        },
        "  local: none\n",
    )
    config = rendered(tmp_path, cluster, (0, 28))
    assert routed(tool, config, "severity=critical", "class=cause") == "night,always"
    assert routed(tool, config, "severity=warning", "class=performance") == "day,always"
    assert (
        routed(tool, config, "severity=warning", "alertname=SmolmonIsolationBroken") == "day,always"
    )
    # Rules of one's own, with whatever severity.
    assert routed(tool, config, "severity=page", "class=cause") == "day,always"
    assert routed(tool, config, "alertname=Mine") == "day,always"
    assert routed(tool, config, "severity=none", "alertname=Watchdog") == "null"
    # A test is for one alone.
    for name in ("night", "always"):
        assert routed(tool, config, "severity=critical", f"smolmon_test={name}/1") == name
    assert routed(tool, config, "severity=warning", "smolmon_test=night/1") == "null"


def test_only_the_heartbeat_gets_the_watchdog(tool: Tool, tmp_path: Path) -> None:
    cluster = cluster_with({"day": EVERY["webhook"][0]}, "  heartbeat: {url_file: secrets/beat}\n")
    config = rendered(tmp_path, cluster, version(tool("amtool")))
    assert routed(tool, config, "alertname=Watchdog", "severity=none") == "heartbeat"
    assert routed(tool, config, "alertname=SmolmonExplained", "severity=none") == "null"
    receivers = yaml.safe_load(config.read_text())["receivers"]
    (beat,) = next(r for r in receivers if r["name"] == "heartbeat")["webhook_configs"]
    assert beat["send_resolved"] is False


def test_a_heartbeat_never_skips_a_turn() -> None:
    cluster = cluster_with({"day": EVERY["webhook"][0]}, "  heartbeat: {url_file: s, every: 2m}\n")
    config = yaml.safe_load(render(cluster, TRUST)["alertmanager/alertmanager.yml"])
    beat = config["route"]["routes"][0]
    assert (beat["group_interval"], beat["repeat_interval"]) == ("2m", "108s")


def test_repeat_intervals_are_those_of_the_severity() -> None:
    cluster = cluster_with({"day": EVERY["webhook"][0]}, "  repeat: {critical: 1h, warning: 24h}\n")
    config = yaml.safe_load(render(cluster, TRUST)["alertmanager/alertmanager.yml"])
    found = {}

    def walk(route: dict[str, Any], matchers: tuple[str, ...]) -> None:
        matchers += tuple(route.get("matchers", ()))
        if "repeat_interval" in route:
            found[matchers] = route["repeat_interval"]
        for inner in route.get("routes", ()):
            walk(inner, matchers)

    walk(config["route"], ())
    assert {v for k, v in found.items() if 'severity="critical"' in k} == {"1h"}
    assert {v for k, v in found.items() if 'severity!="critical"' in k} == {"24h"}


def test_no_secret_and_no_relative_path_is_written(tmp_path: Path) -> None:
    cluster = cluster_with(
        {n: line for n, (line, _) in EVERY.items()}, "  heartbeat: {url_file: s}\n"
    )
    text = render(cluster, TRUST, secrets=Path("/run"))["alertmanager/alertmanager.yml"]
    files = re.findall(r"_file: (\S+)", text)
    assert len(files) == len(EVERY) + 2
    assert all(f.startswith("/run/s") for f in files)
    absolute = cluster_with({"d": "{kind: discord, url_file: /etc/x}"})
    assert (
        "/etc/x\n" in render(absolute, TRUST, secrets=Path("/run"))["alertmanager/alertmanager.yml"]
    )


def test_one_webhook_instead_of_all_receivers() -> None:
    cluster = cluster_with(LINES)
    instead = render(cluster, TRUST, webhook="http://127.0.0.1:1/")["alertmanager/alertmanager.yml"]
    alone = evolve(GUIDE, notify=evolve(GUIDE.notify, local="http://127.0.0.1:1/"))
    assert instead == render(alone, TRUST)["alertmanager/alertmanager.yml"]


def test_a_file_of_a_secret_that_is_not_as_it_must_be(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    files = {"good": "x", "ends": "x\n", "empty": "\n", "two": "http://a http://b", "open": "x"}
    for name, content in files.items():
        (tmp_path / "secrets" / name).write_text(content)
        (tmp_path / "secrets" / name).chmod(0o644 if name == "open" else 0o600)
    cluster_file = tmp_path / "cluster.yaml"
    cluster_file.write_text(
        f"{TEXT}notify:\n  receivers:\n"
        "    a: {kind: pushover, token_file: secrets/ends, user_key_file: secrets/good}\n"
        "    b: {kind: slack, url_file: secrets/two}\n"
        "    c: {kind: discord, url_file: secrets/none}\n"
        "    d: {kind: telegram, token_file: secrets/ends, chat: 1}\n"
        "    e: {kind: discord, url_file: secrets/empty}\n"
        "    f: {kind: discord, url_file: secrets/open}\n"
    )
    result = CliRunner().invoke(
        cli, ["render", str(tmp_path / "out"), "--cluster", str(cluster_file)]
    )
    assert result.exit_code == 0
    notes = [line for line in result.output.splitlines() if line.startswith("note: ")]
    said = {line.split(": ")[1].removeprefix("notify.receivers."): line for line in notes}
    assert said.keys() == {"a.token_file", *(f"{name}.url_file" for name in "bcef")}
    assert "ends in a line break" in said["a.token_file"]
    assert "one URL and nothing else" in said["b.url_file"]
    assert "is not there yet" in said["c.url_file"]
    assert "is empty" in said["e.url_file"]
    assert f"chmod o-r {tmp_path}/secrets/open" in said["f.url_file"]


def test_ntfy_cuts_no_description_off_before_its_fix() -> None:
    """As long as any that the tests of the rules expect, and as much again for larger clusters."""
    found = re.search(r'description}}{{printf "%\.(\d+)s"', NTFY_MESSAGE)
    assert found
    lengths = [
        len(expected["exp_annotations"]["description"])
        for file in (ROOT / "alerts" / "tests").glob("*.yml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for rule in test.get("alert_rule_test", ())
        for expected in rule.get("exp_alerts", ())
        if "description" in expected.get("exp_annotations", ())
    ]
    assert len(lengths) > 40
    assert 2 * max(lengths) < int(found[1])
