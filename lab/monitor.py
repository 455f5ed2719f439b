"""The monitor on the controller: render its configuration, start it, wait until it sees."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

from smolmon.alertmanager import Alertmanager, AlertmanagerError
from smolmon.alerts.render import TLS
from smolmon.lab.controller import CLUSTER_FILE, MONITOR, UNITS, WEBHOOK
from smolmon.lab.errors import LabError
from smolmon.lab.machines import run_in
from smolmon.lab.plan import CONTROLLER

START_DEADLINE = 30.0  # seconds
SCRAPE_DEADLINE = 60.0  # seconds; a fresh Prometheus scrapes first after about six
JOB = "smolmon"


def start(speed: float, alertmanager: str) -> None:
    """Render the configuration, start the units, and wait until Alertmanager answers there.

    Raises LabError.
    """
    script = (
        f"smolmon render {MONITOR} --cluster {CLUSTER_FILE} --speed {speed:g} --webhook {WEBHOOK}"
        f" >/dev/null && chown prometheus: {MONITOR}/{TLS}/*/prometheus.key"
        " && systemctl start smolmon-monitor.target"
    )
    done = run_in(CONTROLLER, ["sh", "-c", script])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LabError(f"the monitor did not start: {last}")
    end = time.monotonic() + START_DEADLINE
    while True:
        try:
            Alertmanager(alertmanager).configuration()
            return
        except AlertmanagerError as error:
            if time.monotonic() > end:
                raise LabError(str(error)) from None
        time.sleep(0.1)


def wait_for_scrapes(nodes: Sequence[str], prometheus: str) -> None:
    """Wait until Prometheus has scraped all `nodes`, and the monitor runs. Raises LabError."""
    end = time.monotonic() + SCRAPE_DEADLINE
    while True:
        healths = targets(prometheus)
        missing = {node: healths.get(node, "no target yet") for node in nodes}
        missing = {node: health for node, health in missing.items() if health != "up"}
        if not missing:
            break
        if time.monotonic() > end:
            what = ", ".join(f"{node} ({health})" for node, health in missing.items())
            raise LabError(
                f"not scraped after {SCRAPE_DEADLINE:.0f} s: {what}; the machines are left running"
            )
        time.sleep(0.1)
    for unit in UNITS:
        state = run_in(CONTROLLER, ["systemctl", "is-active", unit]).stdout.strip()
        if state != "active":
            look = f"smolmon lab exec controller -- journalctl -u {unit}"
            raise LabError(f"{unit} is {state}; look with `{look}`")


def targets(prometheus: str) -> dict[str, str]:
    """By node: `up`, or why Prometheus at this address cannot scrape it. Empty if it is silent."""
    try:
        active = get(f"{prometheus}/api/v1/targets?state=active")["data"]["activeTargets"]
    except (OSError, URLError, ValueError, KeyError):
        return {}
    return {
        target["labels"].get("node", ""): target["health"]
        if target["health"] == "up"
        else target["lastError"] or "not scraped yet"
        for target in active
        if target["labels"].get("job") == JOB
    }


def samples(prometheus: str, promql: str) -> list[dict[str, Any]]:
    """The samples of an instant query: labels, and the value under `value`."""
    result = get(f"{prometheus}/api/v1/query?query={quote(promql)}")["data"]["result"]
    return [{**sample["metric"], "value": float(sample["value"][1])} for sample in result]


def alerts(alertmanager: str) -> list[dict[str, Any]]:
    """The alerts that Alertmanager at this address has now, the inhibited ones too."""
    found: list[dict[str, Any]] = get(f"{alertmanager}/api/v2/alerts")
    return found


def silences(alertmanager: str) -> list[dict[str, Any]]:
    """The silences that Alertmanager at this address holds to now, and those to come."""
    found = get(f"{alertmanager}/api/v2/silences")
    return [one for one in found if one["status"]["state"] != "expired"]


def get(url: str) -> Any:  # noqa: ANN401 - JSON, as Prometheus and Alertmanager document it
    """The answer at `url`. The host's proxy settings are not for the loopback address."""
    with build_opener(ProxyHandler({})).open(url, timeout=5) as answer:
        return json.load(answer)
