"""Meta: is the monitor itself well?"""

from __future__ import annotations

from typing import Any

from smolmon.dashboards.common import META, C, events, variables
from smolmon.dashboards.grafana import (
    NONE_IS_GOOD,
    Section,
    bars,
    graph,
    query,
    stat,
    timeline,
)
from smolmon.dashboards.grafana import (
    board as board_of,
)
from smolmon.dashboards.mend import Json

UP = f'up{{job="smolmon",{C}}}'


def board() -> Json:
    """The board."""
    return board_of(
        META,
        "smolmon · Meta",
        "The monitor itself: scrapes, rules, notifications, certificates, and the exporters' "
        "files.",
        [
            Section("", _now()),
            Section("Scrapes", _scrapes()),
            Section("Exporters", _exporters()),
            Section("Prometheus and Alertmanager", _monitor()),
        ],
        variables=variables(),
        annotations=events(),
    )


def _now() -> tuple[Any, ...]:
    days = f"(smolmon_web_certificate_expiry_timestamp_seconds{{{C}}} - time()) / 86400"
    size = (4, 4)
    return (
        stat(
            "Rules are evaluated",
            "Whether the alert that always fires does.",
            [query('max(ALERTS{alertname="Watchdog",alertstate="firing"})', instant=True)],
            values={1: ("yes", "green")},
            empty="no",
            thresholds=((None, "red"), (1, "green")),
            background=True,
            size=size,
        ),
        stat(
            "Exporters down",
            "Nodes whose exporter is not scraped.",
            [query(f"count by (cluster) ({UP}) - sum by (cluster) ({UP})", instant=True)],
            unit="short",
            thresholds=NONE_IS_GOOD,
            size=size,
        ),
        stat(
            "Different cluster files",
            "How many different ones the exporters run with. There should be one.",
            [
                query(
                    f"count by (cluster) (group by (cluster, hash) (smolmon_topology_info{{{C}}}))",
                    instant=True,
                )
            ],
            unit="short",
            thresholds=((None, "green"), (2, "red")),
            size=size,
        ),
        stat(
            "Certificate days left",
            "Until the first certificate of an exporter expires. Unknown where there are none.",
            [query(f"min by (cluster) ({days})", instant=True)],
            unit="d",
            thresholds=((None, "red"), (7, "orange"), (30, "green")),
            size=size,
        ),
        stat(
            "Probe lag, worst",
            "How late the latest 1 % of the bursts of echo requests left, on the slowest node.",
            [
                query(
                    "max by (cluster) (histogram_quantile(0.99, sum by (cluster, node, le) "
                    f"(rate(smolmon_scheduler_lag_seconds_bucket{{{C}}}[5m]))))",
                    instant=True,
                )
            ],
            unit="s",
            size=size,
        ),
        stat(
            "Versions of smolmon",
            "How many different ones run. More than one: an update is not finished.",
            [
                query(
                    f"count by (cluster) (group by (cluster, version) (smolmon_build_info{{{C}}}))",
                    instant=True,
                )
            ],
            unit="short",
            thresholds=((None, "green"), (2, "orange")),
            size=size,
        ),
    )


def _scrapes() -> tuple[Any, ...]:
    return (
        timeline(
            "Targets",
            "Whether each exporter was scraped.",
            [query(f"min by (node) ({UP})", "{{node}}")],
            values={1: ("up", "green"), 0: ("down", "red")},
            size=(8, 8),
        ),
        graph(
            "Scrape duration",
            "How long each scrape took.",
            [query(f'scrape_duration_seconds{{job="smolmon",{C}}}', "{{node}}")],
            unit="s",
            size=(8, 8),
        ),
        graph(
            "Series",
            "Samples of each scrape.",
            [query(f'scrape_samples_scraped{{job="smolmon",{C}}}', "{{node}}")],
            unit="short",
            size=(8, 8),
        ),
        graph(
            "Probe lag",
            "How late bursts of echo requests left, 99th percentile.",
            [
                query(
                    "histogram_quantile(0.99, sum by (node, le) "
                    f"(rate(smolmon_scheduler_lag_seconds_bucket{{{C}}}[$__rate_interval])))",
                    "{{node}}",
                )
            ],
            unit="s",
            interval="1m",
            size=(8, 8),
        ),
        graph(
            "Bursts left out",
            "Bursts of echo requests that were left out, because the process was held up.",
            [
                query(
                    "sum by (node) "
                    f"(increase(smolmon_probe_overruns_total{{{C}}}[$__rate_interval]))",
                    "{{node}}",
                )
            ],
            unit="short",
            draw="bars",
            fill=80,
            thresholds=NONE_IS_GOOD,
            size=(8, 8),
        ),
        graph(
            "Clocks set",
            "How often a node's clock was set, or the machine slept.",
            [
                query(
                    f"sum by (node) (increase(smolmon_clock_steps_total{{{C}}}[$__rate_interval]))",
                    "{{node}}",
                )
            ],
            unit="short",
            draw="bars",
            fill=80,
            thresholds=NONE_IS_GOOD,
            size=(8, 8),
        ),
    )


def _exporters() -> tuple[Any, ...]:
    return (
        timeline(
            "Files could be used",
            "Whether the cluster file, and the web configuration with its certificates, could be "
            "used when they were last read. If not, the older one is kept.",
            [
                query(f"smolmon_config_last_reload_successful{{{C}}}", "{{node}} cluster file"),
                query(f"smolmon_web_config_last_reload_successful{{{C}}}", "{{node}} web"),
            ],
            values={1: ("yes", "green"), 0: ("no", "red")},
            size=(8, 9),
        ),
        timeline(
            "Collectors",
            "Whether each part of the scrapes works on all nodes; the Node board tells more.",
            [query(f"min by (collector) (smolmon_collector_success{{{C}}})", "{{collector}}")],
            values={1: ("works", "green"), 0: ("fails", "red")},
            size=(8, 9),
        ),
        bars(
            "Cluster file read",
            "Seconds since each exporter last read its cluster file and could use it.",
            [
                query(
                    f"time() - smolmon_config_last_reload_success_timestamp_seconds{{{C}}}",
                    "{{node}}",
                    instant=True,
                )
            ],
            unit="s",
            size=(8, 9),
        ),
    )


def _monitor() -> tuple[Any, ...]:
    """These exist where Prometheus scrapes itself and Alertmanager."""
    return (
        graph(
            "Rule evaluations that failed",
            "By group. Needs a Prometheus that scrapes itself.",
            [
                query(
                    "sum by (rule_group) "
                    "(increase(prometheus_rule_evaluation_failures_total[$__rate_interval]))",
                    "{{rule_group}}",
                )
            ],
            unit="short",
            thresholds=NONE_IS_GOOD,
            size=(8, 8),
        ),
        graph(
            "Notifications that Prometheus could not hand over",
            "To Alertmanager. Needs a Prometheus that scrapes itself.",
            [
                query(
                    "sum by (alertmanager) "
                    "(increase(prometheus_notifications_errors_total[$__rate_interval]))",
                    "{{alertmanager}}",
                )
            ],
            unit="short",
            thresholds=NONE_IS_GOOD,
            size=(8, 8),
        ),
        graph(
            "Notifications that Alertmanager could not send",
            "By receiver's kind. Needs a Prometheus that scrapes Alertmanager.",
            [
                query(
                    "sum by (integration) "
                    "(increase(alertmanager_notifications_failed_total[$__rate_interval]))",
                    "{{integration}}",
                )
            ],
            unit="short",
            thresholds=NONE_IS_GOOD,
            size=(8, 8),
        ),
    )
