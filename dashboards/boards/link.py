"""Link: all that is known of the way from one node to one peer."""

from __future__ import annotations

from typing import Any

from smolmon.dashboards.boards.link_port import (
    PING,
    PORT,
    bandwidth,
    interface,
    neighbour,
    training_port,
)
from smolmon.dashboards.common import LINK, N, P, events, variables
from smolmon.dashboards.grafana import (
    AT_LEAST,
    AT_MOST,
    NONE_IS_GOOD,
    Section,
    graph,
    heatmap,
    override,
    query,
    stat,
    timeline,
)
from smolmon.dashboards.grafana import (
    board as board_of,
)
from smolmon.dashboards.mend import Json

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
DOWN_UP = {1: ("up", "green"), 0: ("down", "red")}


def board() -> Json:
    """The board."""
    return board_of(
        LINK,
        "smolmon · Link",
        "The way from a node to a peer: delay, loss, bandwidth, and the interface it leaves by.",
        [
            Section("", _now()),
            Section("Delay and loss", (*_delay(), *_loss())),
            Section("Bandwidth and the interface", (*bandwidth(), *interface())),
            Section("Neighbour and training port", (*neighbour(), *training_port())),
            Section("How good the measurement is", _measurement(), collapsed=True),
        ],
        variables=variables("node", "peer", "probe"),
        annotations=events(),
    )


def _mean(window: str) -> str:
    return (
        f"rate(smolmon_ping_rtt_seconds_sum{{{PING}}}[{window}])"
        f" / (rate(smolmon_ping_rtt_seconds_count{{{PING}}}[{window}]) > 0)"
    )


def _now() -> tuple[Any, ...]:
    size = (3, 4)
    return (
        stat(
            "Answers",
            "Whether one of the last three requests was answered.",
            [query(f"max by (cluster) (smolmon_ping_up{{{PING}}})", instant=True)],
            values=DOWN_UP,
            thresholds=AT_LEAST,
            background=True,
            size=size,
        ),
        stat(
            "Round trip",
            "Mean of five minutes.",
            [query(f"max by (cluster) ({_mean('5m')})", instant=True)],
            unit="s",
            size=size,
        ),
        stat(
            "Share of expectation",
            "Mean round-trip time divided by the declared expectation: 100 % is all of it.",
            [
                query(
                    f"max by (cluster) ({_mean('5m')})"
                    f" / max by (cluster) (smolmon_ping_rtt_threshold_seconds{{{PING}}})",
                    instant=True,
                )
            ],
            unit="percentunit",
            thresholds=AT_MOST,
            size=size,
        ),
        stat(
            "Last answer",
            "When the peer last answered in time.",
            [
                query(
                    "1000 * max by (cluster) "
                    f"(smolmon_ping_last_reply_timestamp_seconds{{{PING}}})",
                    instant=True,
                )
            ],
            unit="dateTimeFromNow",
            size=size,
        ),
        stat(
            "Last test, received",
            "What the node received from the peer in the last bandwidth test.",
            [
                query(
                    "8 * max by (cluster) "
                    f'(smolmon_bandwidth_bytes_per_second{{{P},direction="receive"}})',
                    instant=True,
                )
            ],
            unit="bps",
            size=size,
        ),
        stat(
            "Last test, sent",
            "What the peer got from the node in the last bandwidth test.",
            [
                query(
                    "8 * max by (cluster) "
                    f'(smolmon_bandwidth_bytes_per_second{{{P},direction="transmit"}})',
                    instant=True,
                )
            ],
            unit="bps",
            size=size,
        ),
        stat(
            "Negotiated speed",
            "Of the interface that the pings leave by. Unknown where the system does not say.",
            [
                query(
                    f"8 * max by (device) (smolmon_network_speed_bytes{{{N}}} {PORT})", instant=True
                )
            ],
            unit="bps",
            size=size,
        ),
        stat(
            "MTU",
            "Largest packet that the interface sends in one piece. Both ends must agree.",
            [query(f"max by (device) (smolmon_network_mtu_bytes{{{N}}} {PORT})", instant=True)],
            unit="none",
            size=size,
        ),
    )


def _delay() -> tuple[Any, ...]:
    buckets = f"sum by (le) (rate(smolmon_ping_rtt_seconds_bucket{{{PING}}}[$__rate_interval]))"
    names = [f"p{100 * q:g}" for q in QUANTILES]
    bands = [
        override(
            name,
            {
                "custom.lineWidth": 2 if name == "p50" else 0,
                "custom.fillOpacity": 12 if below else 0,
                "color": {"mode": "fixed", "fixedColor": "green" if name == "p50" else "blue"},
                **({"custom.fillBelowTo": below} if below else {}),
            },
        )
        for name, below in zip(names, [None, *names[:-1]], strict=True)
    ]
    expected = override(
        "expected",
        {
            "custom.lineStyle": {"fill": "dash", "dash": [10, 10]},
            "custom.fillOpacity": 0,
            "color": {"mode": "fixed", "fixedColor": "red"},
        },
    )
    return (
        graph(
            "Round-trip time",
            "Percentiles as bands: the darker, the more of the replies; the line is the median. "
            "They come from a histogram, so each is as fine as its buckets. Dashed: the declared "
            "expectation.",
            [
                *(
                    query(f"histogram_quantile({q}, {buckets})", name)
                    for q, name in zip(QUANTILES, names, strict=True)
                ),
                query(
                    f"max by (cluster) (smolmon_ping_rtt_threshold_seconds{{{PING}}})", "expected"
                ),
            ],
            unit="s",
            overrides=[*bands, expected],
            logarithmic=True,
            low=None,
            interval="30s",
            calcs=("lastNotNull",),
            size=(14, 10),
        ),
        heatmap(
            "Replies by round-trip time",
            "How many replies fell into each bucket of the histogram.",
            [
                query(
                    "sum by (le) (increase(smolmon_ping_rtt_seconds_bucket"
                    f"{{{PING}}}[$__rate_interval]))",
                    "{{le}}",
                    form="heatmap",
                )
            ],
            unit="s",
            size=(10, 10),
        ),
    )


def _loss() -> tuple[Any, ...]:
    sent = f"rate(smolmon_ping_requests_total{{{PING}}}[$__rate_interval])"
    return (
        graph(
            "Loss",
            "Share of the requests that were not answered in time, by what became of them.",
            [
                query(
                    "sum by (result) (rate(smolmon_ping_results_total"
                    f'{{{PING},result!="reply"}}[$__rate_interval]))'
                    f" / on () group_left () (sum({sent}) > 0)",
                    "{{result}}",
                ),
            ],
            unit="percentunit",
            draw="bars",
            fill=80,
            stacked=True,
            high=1,
            thresholds=((None, "green"), (0.01, "red")),
            size=(8, 8),
        ),
        graph(
            "Why unreachable",
            "Requests that came back, by the reason that was given.",
            [
                query(
                    "sum by (code) (increase(smolmon_ping_unreachable_total"
                    f"{{{PING}}}[$__rate_interval]))",
                    "{{code}}",
                )
            ],
            unit="short",
            draw="bars",
            fill=80,
            size=(8, 8),
            thresholds=NONE_IS_GOOD,
        ),
        graph(
            "Slow replies",
            "Share of the replies that took longer than expected by more than the measurement may "
            "be wrong.",
            [
                query(
                    "sum by (probe) (rate(smolmon_ping_slow_replies_total"
                    f"{{{PING}}}[$__rate_interval]))"
                    f" / (sum by (probe) ({sent}) > 0)",
                    "slow",
                )
            ],
            unit="percentunit",
            high=1,
            size=(8, 8),
            thresholds=((None, "green"), (0.5, "red")),
        ),
    )


def _measurement() -> tuple[Any, ...]:
    return (
        graph(
            "Error of the measurement",
            "How far the last round-trip time may be off, by the clocks that measured it.",
            [query(f"smolmon_ping_rtt_error_seconds{{{PING}}}", "may be off by")],
            unit="s",
            size=(8, 7),
        ),
        timeline(
            "Clocks",
            "Which clock stamped the last request and its reply: the kernel's is the better one.",
            [query(f"smolmon_ping_timestamping_info{{{PING}}}", "sent: {{tx}}, received: {{rx}}")],
            values={1: ("in use", "green")},
            size=(8, 7),
        ),
        graph(
            "Late, duplicate, in flight",
            "Replies that came too late or twice, and requests that may still be answered.",
            [
                query(
                    f"increase(smolmon_ping_late_replies_total{{{PING}}}[$__rate_interval])", "late"
                ),
                query(
                    f"increase(smolmon_ping_duplicate_replies_total{{{PING}}}[$__rate_interval])",
                    "duplicate",
                ),
                query(f"smolmon_ping_inflight{{{PING}}}", "in flight"),
            ],
            unit="short",
            size=(8, 7),
        ),
    )
