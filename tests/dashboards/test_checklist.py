"""What rows of the checklist say, asked of Prometheus' own evaluation over made-up samples."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from smolmon.dashboards.checklist import state
from smolmon.dashboards.checks import CHECKS, Check

PAIR = 'cluster="guide",node="pi4",target="mini1"'
PORT = {
    f'smolmon_tcp_connect_state{{{PAIR},state="open"}}': "1x10 0x50",
    'smolmon_listener_present{cluster="guide",node="mini1"}': "1x60",
}
ROUTE = {f'smolmon:explained_probe:info{{{PAIR},probe="server",cause="route",hop="mini1"}}': "1x60"}
SLOW = {
    f"smolmon_ping_rtt_seconds_sum{{{PAIR}}}": "0+10x60",
    f"smolmon_ping_rtt_seconds_count{{{PAIR}}}": "0+10x60",
    f"smolmon_ping_rtt_threshold_seconds{{{PAIR}}}": "0.01x60",
}
NARROW = {
    f'smolmon_bandwidth_bytes_per_second{{{PAIR},direction="receive"}}': "1x60",
    f'smolmon_bandwidth_expected_bytes_per_second{{{PAIR},direction="receive"}}': "9x60",
}
LOSSY = {
    f'smolmon_ping_requests_total{{{PAIR},probe="server"}}': "0+10x60",
    f'smolmon_ping_results_total{{{PAIR},probe="server",result="reply"}}': "0+7x60",
}


def check(start: str) -> Check:
    (found,) = (each for each in CHECKS if each.name.startswith(start))
    return found


@pytest.fixture
def promtool(tool: Callable[[str], str], tmp_path: Path) -> Callable[..., None]:
    """Compare what `expr` gives at a time with what is wanted; samples are 10 s apart."""

    def test(series: dict[str, str], expr: str, at: str, wanted: list[dict[str, Any]]) -> None:
        asked = {
            "expr": expr.replace("$cluster", "guide"), "eval_time": at, "exp_samples": wanted,
        }  # fmt: skip
        given = [{"series": name, "values": values} for name, values in series.items()]
        path = tmp_path / "test.yml"
        made = {"interval": "10s", "input_series": given, "promql_expr_test": [asked]}
        path.write_text(yaml.safe_dump({"evaluation_interval": "10s", "tests": [made]}))
        done = subprocess.run(
            [tool("promtool"), "test", "rules", path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return test


@pytest.mark.parametrize(
    ("known", "cause"),
    [
        (ROUTE, "route at mini1"),
        ({}, "a firewall on the server, or a server that listens elsewhere"),
    ],
)
def test_the_training_port_blames_a_firewall_only_where_nothing_else_explains_it(
    promtool: Callable[..., None], known: dict[str, str], cause: str
) -> None:
    row = f"max by (node, target, cause) ({state(check('The training port'))})"
    labels = f'{{cause="{cause}",node="pi4",target="mini1"}}'
    promtool(PORT | known, row, "5m", [{"labels": labels, "value": 0}])


@pytest.mark.parametrize(
    ("name", "series", "seconds"),
    [
        ("The training port", PORT, 90),  # passed last at 100; asked every 30 s
        ("Round trips", SLOW, 30),  # never passed; two samples are needed
        ("Bandwidth", NARROW, 0),
    ],
)
def test_a_row_knows_since_when_it_fails_without_an_alert(
    promtool: Callable[..., None], name: str, series: dict[str, str], seconds: float
) -> None:
    labels = '{cluster="guide",node="pi4",target="mini1"}'
    promtool(series, check(name).since, "5m", [{"labels": labels, "value": seconds}])


@pytest.mark.parametrize(("at", "fails"), [("20s", False), ("2m", True)])
def test_loss_is_judged_from_enough_requests(
    promtool: Callable[..., None], at: str, *, fails: bool
) -> None:
    wanted = [{"labels": '{cluster="guide",node="pi4",target="mini1"}', "value": 0}]
    promtool(LOSSY, check("Packet loss").holds, at, wanted if fails else [])


# What no emulated node can have.
NODE = 'cluster="guide",node="pi4"'
ERRORS = {
    f'smolmon_network_receive_errors_total{{{NODE},device="eth0"}}': "0x20 1+1x40",
    f'smolmon_network_transmit_errors_total{{{NODE},device="eth0"}}': "0x60",
}
AHEAD = {
    f'smolmon_collector_last_success_timestamp_seconds{{{NODE},collector="ping"}}': "60+10x60",
    f"smolmon_clock_steps_total{{{NODE}}}": "0x60",
}
STEPPED = {
    f'smolmon_collector_last_success_timestamp_seconds{{{NODE},collector="ping"}}': "0+10x60",
    f"smolmon_clock_steps_total{{{NODE}}}": "0x20 1+1x40",
}


@pytest.mark.parametrize(
    ("name", "series", "target"),
    [
        ("Interfaces see no errors", ERRORS, ',target="eth0"'),
        ("Clocks are right", AHEAD, ""),
        ("Clocks are right", STEPPED, ""),
    ],
)
@pytest.mark.parametrize("at", ["1m", "8m"])
def test_a_row_that_the_emulated_cluster_cannot_make_fail(
    promtool: Callable[..., None], name: str, series: dict[str, str], target: str, at: str
) -> None:
    row = f"max by (node, target) ({state(check(name))})"
    holds = series is not AHEAD and at == "1m"
    labels, value = ('{node="all"}', 2) if holds else (f'{{node="pi4"{target}}}', 0)
    promtool(series, row, at, [{"labels": labels, "value": value}])


@pytest.mark.parametrize("hops", ["2x60", "2x10 stale _x50"])
def test_a_path_that_answers_or_not_is_wrong_if_the_kernel_sends_elsewhere(
    promtool: Callable[..., None], hops: str
) -> None:
    labels = f'{PAIR},probe="server",link="edge51"'
    series = {
        f"smolmon_path_hops{{{labels}}}": hops,
        f"smolmon_path_hops_expected{{{labels}}}": "2x60",
        f"smolmon_path_first_hop_as_declared{{{labels}}}": "1x10 0x50",
    }
    row = f"max by (node, target) ({state(check('Paths'))})"
    promtool(series, row, "5m", [{"labels": '{node="pi4",target="mini1"}', "value": 0}])


def test_a_wrong_neighbour_need_not_change_to_be_wrong(promtool: Callable[..., None]) -> None:
    labels = f'{PAIR},link="edge51",address="192.168.51.1"'
    series = {
        f"smolmon_neighbor_mac_changes_total{{{labels}}}": "0x60",
        f'smolmon:neighbor_wrong:info{{{labels},mac="02:00:00:00:00:09"}}': "_x10 1x50",
    }
    row = f"max by (node, target) ({state(check('Neighbours'))})"
    promtool(series, row, "1m", [{"labels": '{node="all"}', "value": 2}])
    promtool(series, row, "5m", [{"labels": '{node="pi4",target="mini1"}', "value": 0}])
