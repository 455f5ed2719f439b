"""What a person and a program read."""

import json

import click
import pytest
from attrs import evolve
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from smolmon.cli import cli
from smolmon.doctor.finding import Examination, Finding, Look, parted
from smolmon.doctor.report import WIDTH, data, lines
from tests.alerts.scenarios import ROOT, SCENARIOS
from tests.doctor.test_by_exporters import NOW, examined
from tests.observe.serving import recorded

GUIDE = str(ROOT / "examples" / "guide.yaml")
COMMANDS = ("ssh ", "smolmon ")


def text(found):
    return [click.unstyle(line) for line in lines(found, NOW)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_it_fits_and_says_all_that_was_found(scenario):
    found = examined(scenario)
    said = text(found)
    for finding in found.findings:
        assert finding.summary in " ".join(said).replace("  ", " ")
        assert f"    {finding.fix}" in said  # in one piece
    long = [line for line in said if len(line) > WIDTH]
    assert all(line.strip() in {f.fix for f in found.findings} for line in long)
    assert json.loads(json.dumps(data(found)))["healthy"] == found.healthy
    assert any("healthy" in line for line in said) == found.healthy


@given(st.text(), st.text(), st.text())
def test_nothing_that_others_wrote_reaches_the_terminal_unprinted(summary, evidence, fix):
    finding = Finding("A", "cause", "critical", "n", {}, summary, evidence, "Fix", fix, "")
    looks = (Look("n", True, 1.0),)
    found = Examination("c", "prometheus", "http://x", (finding,), looks, (evidence,))
    assert all(line.isprintable() for line in text(found))


def test_a_description_and_its_fix_are_taken_apart():
    assert parted("It is off. Fix: do it", "do it") == ("It is off.", "Fix")
    assert parted("No. Look first: ssh x", "ssh x") == ("No.", "Look first")
    assert parted("Nothing to do", "other") == ("Nothing to do", "Fix")


def invoke(*arguments, **environment):
    return CliRunner().invoke(cli, ["doctor", "--cluster", GUIDE, *arguments], env=environment)


def test_the_command_asks_prometheus():
    with recorded("forwarding") as url:
        done = invoke("--prometheus", url)
        assert done.exit_code == 1
        assert "ssh mini3 sudo sysctl -w net.ipv4.ip_forward=1" in done.output
        report = json.loads(invoke("--prometheus", url, "--json").output)
    assert [f["alert"] for f in report["findings"]] == ["SmolmonForwardingDisabled"]
    assert (report["source"], report["prometheus"]) == ("prometheus", {"url": url, "error": None})


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours(no_color, coloured):
    with recorded("forwarding") as url:
        arguments = ["doctor", "--cluster", GUIDE, "--prometheus", url]
        # As on a terminal, where click leaves colours in.
        done = CliRunner().invoke(cli, arguments, env={"NO_COLOR": no_color}, color=True)
    assert ("\x1b[" in done.output) == coloured


def test_neither_prometheus_nor_certificates():
    done = invoke("--prometheus", "http://127.0.0.1:1")
    assert done.exit_code == 2
    (line,) = done.output.splitlines()
    assert "127.0.0.1:1 refuses the connection" in line
    assert "smolmon setup" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--yes"], "add --fix"),
        (["--json", "--fix"], "add --yes"),
        (["--prometheus", "localhost:9090"], "is not a URL such as"),
    ],
)
def test_wrong_usage(arguments, said):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


def test_what_is_silenced_and_since_when():
    (finding,) = examined(next(s for s in SCENARIOS if s.name == "forwarding-off")).findings
    found = examined(next(s for s in SCENARIOS if s.name == "healthy"))
    one = evolve(finding, since=NOW - 300, silenced=True)
    said = text(evolve(found, findings=(one,)))
    assert "  mini3: critical SmolmonForwardingDisabled, for 5 min, silenced" in said


def test_where_no_exporter_has_ever_run_setup_is_the_next_step():
    """Restarting six services that nobody has installed is not."""
    looks = tuple(Look(name, False, None) for name in ("a", "b"))
    text = " ".join(lines(Examination("c", "exporters", "http://x", (), looks, ()), NOW))
    assert "Looked at 0 of 2 exporters now. If none has ever run: `smolmon setup`" in text
    some = (Look("a", True, 1.0), looks[1])
    text = " ".join(lines(Examination("c", "exporters", "http://x", (), some, ()), NOW))
    assert "setup" not in text
