"""Names that are more than names: refused in the cluster file, and harmless in every script."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smolmon.cluster import Cluster, ClusterError, parse
from smolmon.setup.bundle import Bundle
from smolmon.setup.linux.system import LinuxState, LinuxSystem
from smolmon.setup.script import steps_script, undo_script
from smolmon.setup.shell import framed, lines
from smolmon.setup.verify import script
from tests.setup.material import GUIDE, bare, guide, installed

# What a shell would run; MARK is a file that must never appear.
PAYLOADS = (
    "$(: > MARK)",
    "`: > MARK`",
    "'; : > MARK; '",
    '"; : > MARK; "',
    "\n: > MARK\n",
    "; : > MARK #",
    "x & : > MARK &",
    "\\'; : > MARK; \\'",
    "@@end\n: > MARK\n",
    "${X:-$(: > MARK)}",
)
HOSTILE = st.builds(
    lambda before, payload, after: before + payload + after,
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
    st.sampled_from(PAYLOADS),
    st.text(" '\"$`\\;&|<>(){}\n*?[]#~=%!-", max_size=5),
)
PLACES = (
    ("cluster",),
    ("server", "node"),
    ("server", "port"),
    ("internet", "address"),
    ("nodes", "pi5", "platform"),
    ("nodes", "pi5", "ssh"),
    ("nodes", "pi5", "management"),
    ("segments", "edge50", "kind"),
    ("segments", "edge50", "subnet"),
    ("segments", "edge50", "members", "pi5", "address"),
    ("segments", "edge50", "members", "pi5", "interface"),
    ("segments", "edge50", "members", "pi5", "mac"),
)


@given(st.sampled_from(PLACES), HOSTILE)
@settings(max_examples=100, deadline=None)
def test_no_value_of_the_cluster_file_holds_more_than_it_should(place, hostile):
    data: Any = yaml.safe_load(GUIDE.read_text())
    at = data
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = hostile
    with pytest.raises(ClusterError):
        parse(yaml.safe_dump(data), "cluster.yaml")


@given(st.sampled_from(["nodes", "segments"]), HOSTILE)
@settings(max_examples=50, deadline=None)
def test_no_name_in_the_cluster_file_is_more_than_a_name(kind, hostile):
    data: Any = yaml.safe_load(GUIDE.read_text())
    data[kind][hostile] = data[kind].pop("pi5" if kind == "nodes" else "edge50")
    with pytest.raises(ClusterError) as error:
        parse(yaml.safe_dump(data), "cluster.yaml")
    assert all("\n" not in str(problem) for problem in error.value.problems)


def called(cluster: Cluster, name: str) -> Cluster:
    """The guide's cluster in which pi5, its port and its link are called `name`."""
    segments = tuple(
        evolve(
            segment,
            name=name if segment.name == "edge50" else segment.name,
            members=tuple(
                evolve(member, node=name, interface=name) if member.node == "pi5" else member
                for member in segment.members
            ),
        )
        for segment in cluster.segments
    )
    nodes = tuple(
        evolve(node, name=name, management=name) if node.name == "pi5" else node
        for node in cluster.nodes
    )
    return evolve(cluster, name=name, nodes=nodes, segments=segments)


def scripts(name: str) -> list[str]:
    """Everything that is ever sent to that node."""
    cluster = called(guide(), name)
    system = LinuxSystem(cluster, name)
    sent = [
        system.facts_script(),
        system.settled(),
        lines([system.alone(), system.ready(0.1)]),
        script(cluster, name, system),
    ]
    for facts in (bare("pi5"), installed("pi5")):
        port = evolve(facts.interface("eth0"), name=name)
        folder = (*facts.folder, f"/opt/smolmon/{name}")
        seen = evolve(facts, interfaces=(port,), folder=folder, uid=0)
        state = LinuxState(system.wanted, seen)
        for plan in (state.plan(Bundle(name.encode(), name.encode())), state.removal()):
            sent += [
                state.armed(plan.network, 90),
                steps_script(plan.system),
                undo_script(plan.steps),
            ]
        sent += [state.commit(name), state.rollback(name), state.tidy(), state.journal()]
    return sent


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder of programs that do nothing, so that the scripts can be run right here."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "bin").mkdir()
    stub = folder / "stub"
    stub.write_text("#!/bin/sh\nexit 0\n")
    stub.chmod(0o755)
    names = (
        "nmcli busctl ip sudo sysctl systemctl install mv rm rmdir ln base64 cat grep id stat ps "
        "sha256sum find ss python3 date ping timeout bash flock sleep head cut basename journalctl"
    )
    for name in names.split():
        (folder / "bin" / name).symlink_to(stub)
    return folder


@given(HOSTILE)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_script_runs_what_a_name_says(place, hostile):
    mark = place / "mark"
    sent = scripts(hostile.replace("MARK", str(mark)))
    done = subprocess.run(
        ["/bin/sh", "-s"],
        input="".join(framed(f"PATH={place}/bin\n{text}", "@@token") for text in sent).encode(),
        cwd=place,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert not mark.exists()
    assert done.stdout.count(b"\n@@token ") == len(sent)  # nor does it end in the middle


@pytest.mark.parametrize("payload", PAYLOADS[:2])
def test_the_mark_would_appear_if_a_name_were_not_quoted(place, payload):
    mark = place / "proof"
    text = f'echo "{payload}"'.replace("MARK", str(mark))
    subprocess.run(["/bin/sh", "-s"], input=text.encode(), check=False, capture_output=True)
    assert mark.exists()
    mark.unlink()
