"""Every key of the cluster file: one table, from which the documentation's tables are made.

The loader is what decides; a test holds the two to each other, key by key. Defaults are read from
the model where it has them.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from smolmon.bounds import DURATIONS, STREAMS
from smolmon.cluster.model import (
    DEFAULT_EXPORTER_PORT,
    DEFAULT_SERVER_PORT,
    EXPECTATIONS,
    Apart,
    Bandwidth,
    Cabling,
    Kind,
    Platform,
)
from smolmon.cluster.monitor import Monitor
from smolmon.cluster.notify import Heartbeat, Notify, Service, Severity


@frozen
class Key:
    """One key. `path` is dotted, words in capitals in it are for you to choose.

    `default` is what holds where the key is missing; of a required one, what that of its section
    means. `type` and `meaning` are Markdown.
    """

    path: str
    type: str
    meaning: str
    default: str = ""
    required: bool = False


def _one_of(kind: type[Enum]) -> str:
    return ", ".join(f"`{one.value}`" for one in kind)


_KINDS = {Kind.THUNDERBOLT: "Thunderbolt", Kind.ETHERNET: "Ethernet", Kind.WIFI: "Wi-Fi"}


def _bits(rate: float) -> str:
    bits = rate * 8
    return f"{bits / 1e9:g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:g} Mbit/s"


def _by_kind(said: dict[Kind, str]) -> str:
    if len(set(said.values())) == 1:
        return said[Kind.WIFI]
    return ", ".join(f"{said[kind]} {name}" for kind, name in _KINDS.items())


_NAME = "name"
_PORT = "port"
_ADDRESS = "IPv4 address"
_DURATION = "duration"
_SHARE = "share"
_RATE = "rate"
_FLAG = "`true`, `false`"
_URL = "URL"
_FILE = "path"

_BANDWIDTH, _MONITOR, _NOTIFY = Bandwidth(), Monitor(), Notify()
_RTT = _by_kind({kind: f"{of.rtt * 1e3:g} ms" for kind, of in EXPECTATIONS.items()})
_LOSS = _by_kind({kind: f"{of.loss * 100:g} %" for kind, of in EXPECTATIONS.items()})
_LEAST = _by_kind({kind: _bits(of.bandwidth) for kind, of in EXPECTATIONS.items()})

_CLUSTER = (
    Key(
        "cluster", _NAME, "name of the cluster; the label `cluster` of every series", required=True
    ),
    Key("server.node", _NAME, "the node that runs the training server", required=True),
    Key("server.port", _PORT, "its TCP port", f"{DEFAULT_SERVER_PORT}"),
    Key(
        "server.segment",
        _NAME,
        "the segment that it serves, if its node is on several",
        "its Thunderbolt segment",
    ),
    Key(
        "internet.address",
        _ADDRESS,
        "an IPv4 address that stands for the internet in probes",
        "without the section no such probe",
        required=True,
    ),
    Key("internet.expect.rtt", _DURATION, "as for segments", "that of Wi-Fi"),
    Key("internet.expect.loss", _SHARE, "as for segments", "that of Wi-Fi"),
    Key("internet.expect.bandwidth", _RATE, "as for segments", "that of Wi-Fi"),
    Key("exporter.port", _PORT, "TCP port of the exporters", f"{DEFAULT_EXPORTER_PORT}"),
    Key(
        "isolation",
        _one_of(Apart),
        "`report`: segments that must not reach each other merely have no routes to each other, and"
        " the exporters tell when they do; `enforce`: their gateways also drop such packets,"
        " [so](setup.md#segments-kept-apart)",
        f"`{Apart.REPORT.value}`",
    ),
    Key("nodes.NAME.platform", _one_of(Platform), "what it runs", required=True),
    Key(
        "nodes.NAME.ssh",
        "destination",
        "destination for ssh(1): `host`, `user@host`, or an alias of your SSH configuration",
        "the management address",
    ),
    Key(
        "nodes.NAME.management",
        "host or address",
        "where the node is scraped: its Wi-Fi address or name, never an address on a segment that"
        " smolmon sets up",
        "its address on a `wifi` segment, else the host of `ssh`, else its own name",
    ),
    Key(
        "segments.NAME.kind",
        _one_of(Kind),
        "what it is made of; `wifi` is for management and internet only: never provisioned, never"
        " routed through",
        required=True,
    ),
    Key("segments.NAME.subnet", "IPv4 subnet", "one for each link, from /8 to /30", required=True),
    Key(
        "segments.NAME.cabling",
        _one_of(Cabling),
        "`chain` (in the order of the members) or `star` (a switch; with two members, a cable)",
        "`chain` for Thunderbolt, else `star`",
    ),
    Key(
        "segments.NAME.gateway",
        _NAME,
        "the member that joins it to the rest, where several could",
        "the only one that can",
    ),
    Key("segments.NAME.expect.rtt", _DURATION, "expected round trip: `0.5ms`", _RTT),
    Key("segments.NAME.expect.loss", _SHARE, "tolerated loss: `1%`", _LOSS),
    Key("segments.NAME.expect.bandwidth", _RATE, "least bandwidth: `800Mbit/s`", _LEAST),
    Key(
        "segments.NAME.static_neighbors",
        _FLAG,
        "`true`: its members keep each other's MAC addresses, static ARP,"
        " [so](setup.md#static-neighbours)",
        "`false`",
    ),
    Key(
        "segments.NAME.members.NODE.address",
        _ADDRESS,
        "the node's address on the segment; a member that needs no more may be just an address",
        required=True,
    ),
    Key(
        "segments.NAME.members.NODE.interface",
        _NAME,
        "which port it is; `interface` or `mac`, or both",
        "`bridge0` for a Thunderbolt member on macOS, nothing on Wi-Fi; else one of the two must be"
        " there",
    ),
    Key(
        "segments.NAME.members.NODE.mac",
        "MAC address",
        "which port it is, by its hardware address",
        "whichever it has",
    ),
)

_TESTS = (
    Key("bandwidth.enabled", _FLAG, "`false`: no tests", "`true`"),
    Key(
        "bandwidth.period",
        _DURATION,
        "every test runs once in this time, at most `24h`",
        f"{_BANDWIDTH.period / 3600:g} h",
    ),
    Key(
        "bandwidth.duration",
        _DURATION,
        f"how long data flow, whole seconds up to `{DURATIONS[-1]}s`",
        f"{_BANDWIDTH.duration} s",
    ),
    Key(
        "bandwidth.streams",
        "number",
        f"TCP connections at the same time, up to {STREAMS[-1]}",
        f"{_BANDWIDTH.streams}",
    ),
    Key("bandwidth.rate", _RATE, "at most so much, all streams together", "as fast as it goes"),
    Key(
        "bandwidth.daily_budget", "size", "bytes a day and node (`200GB`; `kB` to `TB`)", "no limit"
    ),
    Key(
        "bandwidth.guard",
        _DURATION,
        "how far the nodes' clocks may be apart",
        f"{_BANDWIDTH.guard:g} s",
    ),
    Key(
        "bandwidth.busy",
        _SHARE,
        "no test where the interface carries more than this share of what is expected",
        f"{_BANDWIDTH.busy * 100:g} %",
    ),
    Key(
        "bandwidth.tolerance",
        _SHARE,
        "how far below its baseline a result may stay",
        f"{_BANDWIDTH.tolerance * 100:g} %",
    ),
    Key(
        "bandwidth.port",
        _PORT,
        "TCP port of the tests, on the segments' addresses",
        f"{_BANDWIDTH.port}",
    ),
    Key(
        "bandwidth.baseline.LINK.SRC->DST",
        _RATE,
        "a recorded result; `LINK` is the segment by which SRC sends",
        "the floor",
    ),
)

_WATCHED = (
    Key("monitor.prometheus", _URL, "where Prometheus answers", f"`{_MONITOR.prometheus}`"),
    Key(
        "monitor.alertmanager",
        _URL,
        "where Alertmanager answers: alerts go there, and silences",
        f"`{_MONITOR.alertmanager}`",
    ),
    Key(
        "monitor.scrape_interval",
        _DURATION,
        "how often nodes are scraped and rules evaluated, from `1s` to `5s`: the rules are proven"
        " with that",
        f"`{_MONITOR.scrape_interval:g}s`",
    ),
    Key(
        "monitor.retention",
        "number of `h`, `d`, `w`, `y`",
        "how long samples are kept: `90d`",
        f"`{_MONITOR.retention}`",
    ),
    Key(
        "monitor.external_labels",
        "mapping",
        "labels of everything that leaves this Prometheus",
        "`cluster`, if it watches one",
    ),
    Key(
        "monitor.remote_write[].url",
        _URL,
        "a store that gets every sample; `remote_write` is a list of them",
        "without the list no such store",
        required=True,
    ),
    Key(
        "monitor.remote_write[].username", "text", "who we are there, with `password_file`", "none"
    ),
    Key("monitor.remote_write[].password_file", _FILE, "the file with the password", "none"),
    Key(
        "monitor.remote_write[].credentials_file",
        _FILE,
        "instead of these two, the file with a bearer token",
        "none",
    ),
    Key(
        "monitor.agent",
        _FLAG,
        "`true`: scrape and send on; no queries, rules or alerts here",
        "`false`",
    ),
)

_TOLD = (
    Key(
        "notify.receivers.NAME.kind",
        _one_of(Service),
        "where to send; as many receivers as you like, several of one kind too, each with the keys"
        " of its kind",
        "without receivers only `local`",
        required=True,
    ),
    Key(
        "notify.receivers.NAME.severities",
        f"list of {_one_of(Severity)}",
        "of what it is told; `critical`: training cannot go on",
        "both",
    ),
    Key(
        "notify.receivers.NAME.url",
        _URL,
        "ntfy, webhook: the address, where it is no secret",
        "`url_file`",
    ),
    Key(
        "notify.receivers.NAME.url_file",
        _FILE,
        "the file with the address, where it is one; discord and slack need it",
        "`url`",
    ),
    Key(
        "notify.receivers.NAME.token_file",
        _FILE,
        "the file with a token; telegram and pushover need it",
        "no token",
    ),
    Key(
        "notify.receivers.NAME.user_key_file",
        _FILE,
        "pushover: the file with the user's key",
        required=True,
    ),
    Key("notify.receivers.NAME.chat", "number", "telegram: the chat", required=True),
    Key("notify.receivers.NAME.channel", "text", "slack: the channel", "that of the URL"),
    Key("notify.receivers.NAME.to", "mail address", "email: to whom", required=True),
    Key("notify.receivers.NAME.from", "mail address", "email: from whom", required=True),
    Key("notify.receivers.NAME.smarthost", "`host:port`", "email: the server", required=True),
    Key("notify.receivers.NAME.username", "text", "email: who we are there", "no login"),
    Key("notify.receivers.NAME.password_file", _FILE, "email: the file with the password", "none"),
    Key("notify.receivers.NAME.tls", _FLAG, "email: whether the server must do TLS", "`true`"),
    Key(
        "notify.local",
        f"{_URL}, `none`",
        "a URL on your own network that gets everything, or `none`",
        f"`{_NOTIFY.local}`",
    ),
    Key(
        "notify.heartbeat.url_file",
        _FILE,
        "a file with the URL that is called as long as all is well",
        "without the section none",
        required=True,
    ),
    Key(
        "notify.heartbeat.every",
        _DURATION,
        "how often, `30s` to `24h`",
        f"`{Heartbeat('').every / 60:g}m`",
    ),
    Key(
        "notify.repeat.critical",
        _DURATION,
        "how long until an alert that goes on is told again, `300s` to `168h`",
        f"`{_NOTIFY.repeat_critical / 3600:g}h`",
    ),
    Key(
        "notify.repeat.warning",
        _DURATION,
        "likewise",
        f"`{_NOTIFY.repeat_warning / 3600:g}h`",
    ),
)

KEYS: dict[str, Key] = {key.path: key for key in (*_CLUSTER, *_TESTS, *_WATCHED, *_TOLD)}
