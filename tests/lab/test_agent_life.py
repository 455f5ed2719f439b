"""The exporter's life on a node's real systemd, and the certificates that it is scraped with."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from smolmon.lab.monitor import targets
from smolmon.setup.trust import certificates
from smolmon.setup.trust.certificates import Holder, Usage
from tests.lab.client import Lab, refuse_to_replace_a_lab, smolmon, until

CLUSTER = """\
cluster: small
server: {node: one, port: 65432}
nodes:
  one: {platform: linux, ssh: one, management: 192.168.1.11}
  two: {platform: linux, ssh: pi@192.168.1.14, management: 192.168.1.14}
segments:
  edge60:
    kind: ethernet
    subnet: 192.168.60.0/24
    members:
      one: {address: 192.168.60.1, interface: en5}
      two: {address: 192.168.60.2, interface: eth0}
"""
UNIT = "smolmon-exporter.service"
AGENT = "/opt/smolmon/smolmon.pyz"
TLS = "/opt/smolmon/tls"
KEPT = "/root/.config/smolmon/small"  # on the controller
MONITOR = "/etc/smolmon/monitor"
UNTRUSTED = 60  # curl(1), exit codes
URL = "https://192.168.1.14:9742/metrics"


# What does not depend on the distribution is tried on one: each takes a few seconds.
BOTH = pytest.mark.parametrize(
    "lab",
    ["bookworm", pytest.param("trixie", marks=pytest.mark.long)],
    indirect=True,
    scope="module",
)
ONE = pytest.mark.parametrize("lab", ["bookworm"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two provisioned nodes."""
    refuse_to_replace_a_lab()
    file: Path = tmp_path_factory.mktemp("cluster") / "small.yaml"
    file.write_text(CLUSTER)
    try:
        smolmon("lab", "up", "--cluster", str(file), "--speed", "20", "--suite", request.param)
        yield Lab(file)
    finally:
        smolmon("lab", "down")


def sh(lab: Lab, node: str, script: str, *, check: bool = True) -> str:
    """What a script prints that root runs on a node."""
    return lab.run(node, "sh", "-c", script, check=check).stdout


def setup(lab: Lab, *options: str) -> dict[str, Any]:
    """What `smolmon setup` reports; it may have something to do, but not fail."""
    done = lab.run("controller", "smolmon", "setup", "--json", *options, check=False)
    assert done.returncode == (0 if "--yes" in options else done.returncode), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["refused"] == []
    return report


def whys(report: dict[str, Any], node: str = "two") -> list[str]:
    """The reason of each step for a node."""
    plan = report["plan"][node]
    return [step["why"] for step in (*plan["network"], *plan["system"])]


def pid(lab: Lab, node: str = "two") -> int:
    """The exporter's process, 0 for none."""
    return int(sh(lab, node, f"systemctl show -P MainPID {UNIT}"))


def health(lab: Lab, node: str = "two") -> str:
    """`up`, or why Prometheus cannot scrape the node."""
    return targets(lab.monitor["prometheus"]).get(node, "")


def everything(lab: Lab, node: str) -> dict[str, str]:
    """All that setup manages on a node, and what it must leave alone: by path, by kind."""
    folders = f"/opt/smolmon /etc/systemd/system/{UNIT} /etc/sysctl.d"
    folders += " /etc/NetworkManager/system-connections"
    listed = sh(
        lab,
        node,
        f"find {folders} -type f -printf '%p|%m %u %T@\\n'\n"
        f'echo "process|$(systemctl show -P MainPID {UNIT})"\n'
        f'echo "enabled|$(systemctl is-enabled {UNIT})"\n'
        "(ip route; ip -br address) | sed 's/^/network|/'\n",
    )
    found: dict[str, str] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("|")
        found[key] = found.get(key, "") + value
    return found


def repaired(lab: Lab, before: dict[str, dict[str, str]], *expected: str) -> set[str]:
    """Run setup, which must do what is expected on `two`; what differs there from `before`."""
    report = setup(lab, "--yes")
    assert whys(report) == list(expected)
    assert whys(report, "one") == []
    assert whys(setup(lab, "--plan")) == []
    until("two is scraped", lambda: health(lab) == "up")
    assert everything(lab, "one") == before["one"]
    now = everything(lab, "two")
    assert now.keys() == before["two"].keys()  # nothing is left beside the files
    return {key for key, value in now.items() if value != before["two"][key]}


@pytest.fixture
def before(lab: Lab) -> dict[str, dict[str, str]]:
    """Both nodes, healthy: so each test leaves them."""
    return {node: everything(lab, node) for node in ("one", "two")}


# -- the unit -----------------------------------------------------------------------------------


@BOTH
def test_the_unit_is_hardened(lab: Lab) -> None:
    said = sh(lab, "two", f"systemd-analyze security --no-pager {UNIT}")
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert exposure
    assert float(exposure[1]) <= 2.0, said
    status = sh(lab, "two", f"cat /proc/{pid(lab)}/status")
    assert re.search(r"(?m)^CapEff:\s+0+$", status)
    assert re.search(r"(?m)^CapBnd:\s+0+$", status)
    assert re.search(r"(?m)^NoNewPrivs:\s+1$", status)
    assert not re.search(r"(?m)^Uid:.*\b0\b", status)


@BOTH
def test_it_measures_everything_all_the_same(lab: Lab) -> None:
    """ICMP sockets with the kernel's time stamps, netlink, sock_diag, files of /proc and /sys."""
    for node in ("one", "two"):
        known = f'smolmon_collector_success{{node="{node}"}}'
        until("all collectors", lambda known=known: len(lab.query(known)) > 10)  # type: ignore[misc]
    assert not lab.query("smolmon_collector_success == 0")
    stamped = {
        one["node"] for one in lab.query('smolmon_ping_timestamping_info{tx="kernel",rx="kernel"}')
    }
    assert "two" in stamped
    until("an answered ping", lambda: lab.query('smolmon_ping_up{node="two"} == 1'))
    until("a neighbour", lambda: lab.query('{__name__=~"smolmon_neighbor_.*",node="two"}'))
    until("a TCP state", lambda: lab.query('smolmon_tcp_connect_state{node="two"} == 1'))
    sh(lab, "one", "systemd-run -q --unit trainer iperf3 -s -p 65432 -B 192.168.60.1")
    try:
        until(
            "the trainer, seen by sock_diag",
            lambda: lab.query('smolmon_tcp_connect_state{node="two",state="open"} == 1'),
        )
    finally:
        sh(lab, "one", "systemctl stop trainer")
    journal = sh(lab, "two", f"journalctl -q --no-pager -u {UNIT}")
    assert not re.search("not permitted|denied|Traceback", journal, re.IGNORECASE)


@BOTH
def test_it_listens_on_the_management_address_only(lab: Lab) -> None:
    seen = sh(lab, "two", "ss -Hltn '( sport = :9742 )'").split()
    assert seen[3] == "192.168.1.14:9742"
    assert len(seen) == 5


# -- keys ---------------------------------------------------------------------------------------


def curl(lab: Lab, *options: str, url: str = URL) -> int:
    """The exit status of curl on the controller, which trusts the cluster's authority."""
    ca = f"{MONITOR}/prometheus/tls/small/authority.crt"
    words = ["curl", "-sf", "-o", "/dev/null", "--max-time", "5", "--cacert", ca, *options, url]
    return lab.run("controller", *words, check=False).returncode


def pair(name: str) -> tuple[str, ...]:
    """Options that show a certificate which the controller keeps."""
    return "--cert", f"{KEPT}/{name}.crt", "--key", f"{KEPT}/{name}.key"


@BOTH
def test_only_prometheus_is_let_in(lab: Lab) -> None:
    assert curl(lab, *pair("prometheus")) == 0
    assert curl(lab) != 0
    assert curl(lab, *pair("nodes/one")) != 0  # a node opens no other node's exporter
    assert curl(lab, *pair("nodes/two")) != 0
    assert curl(lab, "--tls-max", "1.2", *pair("prometheus")) != 0
    assert curl(lab, url=URL.replace("https", "http")) != 0
    until("scraped all the while", lambda: health(lab) == "up")


@BOTH
def test_no_user_of_a_node_can_read_its_key(lab: Lab) -> None:
    for file in (f"{TLS}/node.key", f"/run/credentials/{UNIT}/node.key"):
        assert "PRIVATE KEY" in sh(lab, "two", f"cat {file}")
        for user in ("pi", "nobody"):
            read = f"setpriv --reuid={user} --regid=nogroup --clear-groups cat {file}"
            assert sh(lab, "two", read, check=False) == ""
    modes = sh(lab, "two", f"stat -c '%U %a' {TLS}/node.key {TLS}/node.crt").split("\n")
    assert modes[:2] == ["root 600", "root 644"]
    assert "PRIVATE" not in sh(lab, "two", "journalctl -q --no-pager")


# -- the process --------------------------------------------------------------------------------


@BOTH
def test_it_comes_back_when_it_is_killed(lab: Lab, before: dict[str, dict[str, str]]) -> None:
    former = pid(lab)
    sh(lab, "two", f"kill -KILL {former}")
    until("another process", lambda: pid(lab) not in (0, former))
    until("two is scraped", lambda: health(lab) == "up")
    assert repaired(lab, before) == {"process"}


ACCIDENTS = {
    "stopped": (f"systemctl stop {UNIT}", [f"{UNIT} does not run"], {"process"}),
    "disabled": (f"systemctl disable -q {UNIT}", [f"{UNIT} does not start at boot"], set()),
    "unit-edited": (
        f"echo '# mine' >>/etc/systemd/system/{UNIT}",
        ["the unit is another one", f"{UNIT} changed", "the running exporter predates the unit"],
        {f"/etc/systemd/system/{UNIT}", "process"},
    ),
    "key-open": (
        f"chmod 644 {TLS}/node.key",
        [
            "the key has the mode 0644 instead of 0600",
            "the running exporter predates the key",
        ],
        {f"{TLS}/node.key", "process"},
    ),
    "key-lost": (
        f"rm {TLS}/node.key",
        ["the key is not installed", "the running exporter predates the key"],
        {f"{TLS}/node.key", "process"},
    ),
    "certificate-spoilt": (
        f"echo x >{TLS}/node.crt",
        ["the certificate is another one"],
        {f"{TLS}/node.crt"},
    ),
    "authority-replaced": (
        f"cp {TLS}/node.crt {TLS}/authority.crt",
        [
            "the authority's certificate is another one",
            "the running exporter predates the authority's certificate",
        ],
        {f"{TLS}/authority.crt", "process"},
    ),
    "everybody-let-in": (
        f"sed -i s/RequireAndVerify/No/ {TLS}/web.yml",
        [
            "the web configuration is another one",
            "the running exporter predates the web configuration",
        ],
        {f"{TLS}/web.yml", "process"},
    ),
    "agent-a-user-s": (
        f"chown pi {AGENT}",
        [
            "the agent belongs to user 1000 instead of root",
            "the running exporter predates the agent",
        ],
        {AGENT, "process"},
    ),
}


@ONE
@pytest.mark.parametrize("name", ACCIDENTS)
def test_what_was_altered_is_named_and_repaired_and_nothing_else_changes(
    lab: Lab, before: dict[str, dict[str, str]], name: str
) -> None:
    accident, expected, changed = ACCIDENTS[name]
    sh(lab, "two", accident)
    assert repaired(lab, before, *expected) == changed


@ONE
def test_an_older_agent_gives_way(lab: Lab, before: dict[str, dict[str, str]]) -> None:
    """Another agent, which runs as well: as before an upgrade of smolmon."""
    wanted = sh(lab, "two", f"sha256sum {AGENT}")
    newer = pid(lab)
    code = (
        f"old = open({AGENT!r}, 'rb').read()\n"
        f"open({AGENT!r}, 'wb').write(old.replace(b'python3', b'python3 ', 1))"
    )
    sh(lab, "two", f"python3 -c {shlex.quote(code)} && systemctl restart {UNIT}")
    until("it serves", lambda: curl(lab, *pair("prometheus")) == 0)
    older = pid(lab)
    assert older != newer
    expected = ["the agent is another one", "the running exporter predates the agent"]
    assert repaired(lab, before, *expected) == {AGENT, "process"}
    assert pid(lab) not in (older, 0)
    assert sh(lab, "two", f"sha256sum {AGENT}") == wanted


@ONE
def test_an_agent_that_was_started_before_its_file_changed_is_stale(
    lab: Lab, before: dict[str, dict[str, str]]
) -> None:
    def stale() -> bool:
        sh(lab, "two", f"touch {AGENT}")
        return bool(whys(setup(lab, "--plan")))

    until("a file clearly newer than the process", stale)
    expected = "the running exporter predates the agent"
    assert repaired(lab, before, expected) == {AGENT, "process"}


@ONE
def test_after_a_reboot_it_runs_and_nothing_is_to_be_done(
    lab: Lab, before: dict[str, dict[str, str]]
) -> None:
    smolmon("lab", "reboot", "two")
    until("two is scraped", lambda: curl(lab, *pair("prometheus")) == 0)
    assert repaired(lab, before) <= {"process"}


# -- certificates in time -----------------------------------------------------------------------


def made(lab: Lab, ago: timedelta) -> str:
    """The certificate that the authority would have made for `two` that long ago."""
    key, ca, ca_key = (
        sh(lab, "controller", f"cat {KEPT}/{name}").encode()
        for name in ("nodes/two.key", "authority.crt", "authority.key")
    )
    holder = Holder("two", ("192.168.1.14", "two"), Usage.SERVER)
    then = datetime.now(timezone.utc).replace(microsecond=0) - ago
    return certificates.certificate(holder, key, ca, ca_key, then).decode()


def expiry(lab: Lab) -> float:
    """When the certificate ends that `two` serves with, as it says itself."""
    found = lab.query('smolmon_web_certificate_expiry_timestamp_seconds{node="two"}')
    return float(found[0]["value"]) if found else 0.0


@ONE
def test_an_expired_certificate_on_a_node(lab: Lab, before: dict[str, dict[str, str]]) -> None:
    expired = made(lab, timedelta(days=398))
    sh(lab, "two", f"printf %s {shlex.quote(expired)} >{TLS}/node.crt")
    # Prometheus goes on with the connection that it has.
    assert curl(lab, *pair("prometheus")) == UNTRUSTED
    changed = repaired(lab, before, "the certificate is another one")
    assert changed == {f"{TLS}/node.crt"}  # and the same process serves with it
    assert curl(lab, *pair("prometheus")) == 0


@ONE
def test_setup_renews_a_certificate_in_time(lab: Lab, before: dict[str, dict[str, str]]) -> None:
    old = made(lab, timedelta(days=340))
    for node, file in (("controller", f"{KEPT}/nodes/two.crt"), ("two", f"{TLS}/node.crt")):
        sh(lab, node, f"printf %s {shlex.quote(old)} >{file}")
    until("it is in use", lambda: 0 < expiry(lab) < certificates.validity(old.encode())[1] + 1)
    changed = repaired(lab, before, "the certificate is another one")
    assert changed == {f"{TLS}/node.crt"}
    until("the new one in use", lambda: expiry(lab) > certificates.validity(old.encode())[1])


@ONE
def test_a_new_authority_shuts_out_what_the_former_signed(lab: Lab) -> None:
    """docs/security.md tells this to who has lost a key."""
    sh(lab, "controller", f"mv {KEPT} {KEPT}.former")
    expected = [
        "the key is another one",
        "the certificate is another one",
        "the authority's certificate is another one",
        "the running exporter predates the key and the authority's certificate",
    ]
    report = setup(lab, "--yes")
    assert whys(report) == whys(report, "one") == expected
    until("Prometheus is shut out", lambda: health(lab) not in ("", "up"))
    lab.run("controller", "smolmon", "render", MONITOR, "--speed", "20")
    until("Prometheus is let in", lambda: {health(lab, n) for n in ("one", "two")} == {"up"})
    former = ("--cert", f"{KEPT}.former/prometheus.crt", "--key", f"{KEPT}.former/prometheus.key")
    assert curl(lab, *former) != 0
    assert curl(lab, *pair("prometheus")) == 0
