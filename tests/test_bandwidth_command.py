"""`smolmon bandwidth`: the timetable for people and programs, one test now, and the baseline."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from attrs import evolve
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmon.cli import cli
from smolmon.cluster import load
from smolmon.cluster.timetable import between, declared_tests, timetable
from smolmon.commands import bandwidth_run
from smolmon.commands.bandwidth_run import lines, read_end
from smolmon.commands.bandwidth_schedule import show
from smolmon.commands.rates import rate
from smolmon.setup.ssh import PERSIST, Result, SshError
from tests.cluster.clusters import EXAMPLES, GUIDE, guide


def smolmon(*words, **options):
    return CliRunner().invoke(cli, ["bandwidth", *map(str, words)], **options)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (117.6e6, "941 Mbit/s"),
        (2.5e9, "20 Gbit/s"),
        (124.99e6, "1 Gbit/s"),
        (125, "1 kbit/s"),
        (0, "0 kbit/s"),
    ],
)
def test_rates_have_three_digits(value, text):
    assert rate(value) == text


class TestSchedule:
    def test_shows_every_slot_of_one_period(self):
        text = show(guide(), None, as_json=False, now=1.7e9)
        head, *rows = text.splitlines()
        assert head.startswith("guide: 16 tests of 5 s in 1 h, one every 225 s")
        assert len(rows) == 16
        assert sum("pi4 -> mini1" in row and "edge51, fabric" in row for row in rows) == 1

    def test_as_json_is_the_timetable_itself(self):
        data = json.loads(show(guide(), "pi5", as_json=True, now=1.7e9))
        slots = [
            (s.start, s.sending, s.end, s.test.source, s.test.target)
            for s in timetable(guide()).slots(1.7e9, 1.7e9 + 3600)
            if "pi5" in (s.test.source, s.test.target)
        ]
        seen = [
            (s["start"], s["sending"], s["end"], s["source"], s["target"]) for s in data["slots"]
        ]
        assert seen == slots
        assert len(slots) == 2

    def test_as_a_command(self):
        assert smolmon("schedule", "--cluster", GUIDE).exit_code == 0
        wrong = smolmon("schedule", "--cluster", GUIDE, "--node", "mini9")
        assert wrong.exit_code == 2
        assert "there is no node mini9" in wrong.output

    def test_switched_off(self, tmp_path):
        file = tmp_path / "c.yaml"
        file.write_text(GUIDE.read_text() + "bandwidth: {enabled: false}\n")
        assert "switched off" in smolmon("schedule", "--cluster", file).output


GOOD = {"bytes": 590_000_000, "rate": 117e6, "cpu": 0.3, "remote_cpu": 0.2, "retransmits": 2}


def end(measurement=None, reason=None, text=""):
    result = "success" if measurement else "skipped"
    return {"result": result, "reason": reason, "text": text, "measurement": measurement}


class TestRun:
    def say(self, source, target):
        return lines(guide(), between(guide(), "pi4", "mini1"), {"pi4": source, "mini1": target})

    def test_says_what_was_measured(self):
        assert self.say(end(GOOD), end(GOOD)) == [
            "pi4 -> mini1 over edge51 and fabric: 936 Mbit/s, as expected (at least 800 Mbit/s)",
            "  0.59 GB arrived, 2 TCP segments sent again",
            "  processor: pi4 30% of a core, mini1 30% of a core",
        ]

    def test_tells_a_slow_link_from_a_slow_machine(self):
        slow = {**GOOD, "rate": 50e6}
        assert "too slow" in self.say(end(slow), end(slow))[0]
        busy = self.say(end({**slow, "cpu": 0.99}), end(slow))
        assert busy[-1] == "  the processor of pi4 is the limit here, not the link"
        assert "limit" not in "".join(self.say(end({**GOOD, "cpu": 0.99}), end(GOOD)))

    @pytest.mark.parametrize(
        ("vague", "clear", "words"),
        [
            ("peer_busy", "training", "; wait, or use --force"),
            ("connect_timeout", "link_down", "; `smolmon doctor` looks for a cause"),
            ("peer_busy", "unavailable", "; it must be made for the processor that Python is"),
            ("no_client", "connect_timeout", "; does a firewall on mini1 let TCP port 9743 in?"),
            ("refused", "something new", "; `smolmon doctor` looks for a cause"),
        ],
    )
    def test_blames_the_end_that_knows_why_and_says_what_to_do(self, vague, clear, words):
        ends = end(reason=vague, text="of no help"), end(reason=clear, text="it is so")
        for (line,) in (self.say(*ends), self.say(*ends[::-1])):
            assert "of no help" not in line
            assert f": it is so{words}" in line

    def test_an_address_is_that_of_the_end_that_lacks_it(self):
        lacking = end(reason="address", text="it is so")
        (sender,) = self.say(lacking, end(reason="no_client", text="of no help"))
        assert sender.endswith(": pi4: it is so; is 192.168.51.4 its address?")
        (receiver,) = self.say(end(reason="timeout", text="of no help"), lacking)
        assert receiver.endswith(
            ": mini1: it is so; is 10.10.0.1 its address, and TCP port 9743 free?"
        )

    def test_a_library_is_to_be_installed_where_there_is_none(self):
        absent = end(reason="unavailable", text="there is no libiperf (looked for x)")
        (line,) = self.say(absent, end(reason="no_client", text="x"))
        assert line.endswith(
            "; install it: `sudo apt install libiperf0`, on macOS `brew install iperf3`"
        )

    @pytest.mark.parametrize(
        ("result", "words"),
        [
            (Result(2, "", "python3: can't open file '/opt/x': [Errno 2]"), "run `smolmon setup`"),
            (Result(2, "", "Error: No such command 'bandwidth'."), "older than this smolmon"),
            (Result(2, "", "Error: No such option: --force"), "older than this smolmon"),
            (Result(2, "", "Error: there is no node pi9; nodes are"), "cluster file differs"),
            (Result(2, "", "Error: pi5 and pi4 are not meant to reach"), "cluster file differs"),
            (Result(1, "", "Killed"), "its agent failed: Killed"),
            (Result(0, "", ""), "it said nothing"),
        ],
    )
    def test_an_agent_that_cannot_is_one_line_with_the_remedy(self, result, words):
        with pytest.raises(SshError, match="pi4: ") as error:
            read_end("pi4", result)
        assert words in str(error.value)
        assert len(str(error.value).splitlines()) == 1

    def test_whether_anybody_trains_is_for_the_servers_node_to_say(self):
        """Its own cluster file may name another."""
        wrong = smolmon("training", "--cluster", GUIDE, "--node", "mini2")
        assert wrong.exit_code == bandwidth_run.USAGE
        assert wrong.output.endswith("Error: the training server's node is mini1, not mini2\n")
        with pytest.raises(SshError, match=r"its cluster file differs: .*; run `smolmon setup`"):
            read_end("mini2", Result(wrong.exit_code, "", wrong.output))

    def test_what_cannot_be_is_refused(self):
        wrong = smolmon("run", "pi5", "pi4", "--cluster", GUIDE)
        assert wrong.exit_code == 2
        assert "not meant to reach each other" in wrong.output

    def test_a_full_timetable_leaves_no_room(self, tmp_path):
        file = tmp_path / "c.yaml"
        macs = (EXAMPLES / "five-macs.yaml").read_text()
        file.write_text(macs + "bandwidth: {period: 121s}\n")
        full = smolmon("run", "mac1", "mac2", "--cluster", file)
        assert full.exit_code == 1
        assert "use --force" in full.output

    @settings(deadline=None)
    @given(st.floats(1.6e9, 2e9), st.integers(130, 4000))
    def test_waits_until_no_scheduled_test_is_in_the_way(self, now, period):
        cluster = guide()
        cluster = evolve(cluster, bandwidth=evolve(cluster.bandwidth, period=float(period)))
        test = between(cluster, "pi4", "mini1")
        free = bandwidth_run.free_from(cluster, test, now)
        slots = list(timetable(cluster).slots(now - 100, now + 3 * period))
        taken = [s for s in slots if s.test.conflicts(test)]
        if free is None:
            gaps = [b.start - a.end - 2 for a, b in pairwise(taken)]
            assert max(gaps) < 12 + 1e-3
        else:
            assert now <= free <= now + period
            assert not [s for s in taken if s.end + 2 > free + 1e-3 and s.start < free + 12 - 1e-3]


class Clock:
    """In the place of `time`: to sleep is to move it on."""

    def __init__(self, now):
        self.now = now

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Login:
    """A node at which it takes some time to log in; it keeps when that was."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.times = clock, seconds, []

    async def run(self, script, *_):
        self.clock.now += self.seconds
        self.times.append(self.clock.now)


@pytest.mark.parametrize("seconds", [0.1, 20])
def test_connections_last_until_there_is_room(monkeypatch, seconds):
    cluster = evolve(guide(), bandwidth=evolve(guide().bandwidth, duration=60))
    test = between(cluster, "pi4", "mini1")
    waits = []
    for moment in range(0, 3600, 29):
        clock = Clock(1.7e9 + moment)
        free = bandwidth_run.free_from(cluster, test, clock.now)
        login = Login(clock, seconds)
        login.times.append(clock.now)
        waits.append(free - clock.now)
        monkeypatch.setattr(bandwidth_run, "time", clock)
        bandwidth_run._wait_for_room(cluster, test, {"pi4": login}, quiet=True)
        assert clock.now == pytest.approx(free)
        assert clock.now - login.times[-1] < PERSIST
    assert max(waits) > 2 * PERSIST


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """A stand-in for ssh that runs scripts here, where an agent says what a test writes for it.

    Returns what to write with, by destination and subcommand, and the log of who was asked what.
    """
    log = tmp_path / "log"
    log.touch()
    agent = tmp_path / "agent"  # for the interpreter: its first argument is the agent's file
    agent.write_text(
        '#!/bin/sh\n[ "$1" != -c ] || exit 0\nshift\n'
        f'echo "$DESTINATION $*" >> {log}\nexec sh {tmp_path}/$DESTINATION.$2\n'
    )
    ssh = tmp_path / "ssh"
    ssh.write_text(
        '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nexport DESTINATION=$2 SSH=$$\n'
        f"sed 's|^python3 |{agent} |; s|/opt/homebrew/bin/python3|{agent}|' | exec sh -s\n"
    )
    for program in (agent, ssh):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def say(destination, subcommand, answer):
        text = answer if isinstance(answer, str) else f"echo '{json.dumps(answer)}'"
        (tmp_path / f"{destination}.{subcommand}").write_text(text)

    return say, lambda: [line.split() for line in log.read_text().splitlines()]


class TestRunOverSsh:
    """Forced where the timetable of the real clock might have a test in the way."""

    PI4 = "pi@192.168.1.15"

    def test_both_ends_are_told_the_same(self, nodes):
        say, log = nodes
        for destination in (self.PI4, "mini1"):
            say(destination, "end", end(GOOD))
        done = smolmon("run", "pi4", "mini1", "--cluster", GUIDE, "--force", "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.output)["as_expected"]
        told = {words[0]: words[1:] for words in log()}
        assert set(told) == {self.PI4, "mini1"}
        assert [w.replace("mini1", "pi4") for w in told["mini1"]] == [
            w.replace("mini1", "pi4") for w in told[self.PI4]
        ]
        words = "bandwidth end --source pi4 --target mini1 --force"
        where = "--cluster /opt/smolmon/cluster.yaml --node pi4"
        assert " ".join(told[self.PI4]) == f"{words} {where}"

    @pytest.fixture
    def quiet(self, tmp_path):
        """The guide's cluster, without a timetable."""
        file = tmp_path / "quiet.yaml"
        file.write_text(GUIDE.read_text() + "bandwidth: {enabled: false}\n")
        return file

    def test_the_servers_node_is_asked_first_where_it_takes_no_part(self, nodes, quiet):
        say, log = nodes
        say("mini1", "training", end())
        for destination in ("mini2", "mini3"):
            say(destination, "end", end({**GOOD, "rate": 3e9}))
        assert smolmon("run", "mini2", "mini3", "--cluster", quiet).exit_code == 0
        asked = [(words[0], words[2]) for words in log()]
        assert asked[0] == ("mini1", "training")
        assert sorted(asked[1:]) == [("mini2", "end"), ("mini3", "end")]

    def test_and_nothing_begins_while_it_sees_training(self, nodes, quiet):
        say, log = nodes
        say("mini1", "training", end(reason="training", text="training runs"))
        done = smolmon("run", "mini2", "mini3", "--cluster", quiet)
        assert done.exit_code == 1
        assert done.output == (
            "mini2 -> mini3 over fabric: not measured: mini1: training runs; wait, or use --force\n"
        )
        as_json = smolmon("run", "mini2", "mini3", "--cluster", quiet, "--json")
        assert json.loads(as_json.output)["ends"]["mini1"]["reason"] == "training"
        assert as_json.exit_code == 1
        assert {words[2] for words in log()} == {"training"}

    def test_a_node_that_cannot_be_logged_in_to_is_told_before_any_waiting(self, nodes, tmp_path):
        (tmp_path / "ssh").write_text("#!/bin/sh\necho Connection timed out >&2; exit 255\n")
        crowded = tmp_path / "crowded.yaml"
        just_room_for_one_more = "bandwidth: {period: 392s}\n"
        crowded.write_text(GUIDE.read_text() + just_room_for_one_more)
        done = smolmon("run", "pi4", "mini1", "--cluster", crowded)
        assert done.exit_code == 1
        assert "it does not answer" in done.output
        assert "waiting" not in done.output

    def test_a_servers_node_that_is_off_need_not_be_asked(self, nodes, quiet, tmp_path):
        say, _ = nodes
        off = '[ "$DESTINATION" != mini1 ] || { echo Connection timed out >&2; exit 255; }'
        ssh = (tmp_path / "ssh").read_text()
        (tmp_path / "ssh").write_text(ssh.replace("sed ", f"{off}\nsed "))
        for destination in ("mini2", "mini3"):
            say(destination, "end", end({**GOOD, "rate": 3e9}))
        done = smolmon("run", "mini2", "mini3", "--cluster", quiet)
        assert done.exit_code == 1
        assert done.output.startswith("mini1: it does not answer; ")
        assert "; --force measures without asking mini1 whether training runs\n" in done.output
        assert smolmon("run", "mini2", "mini3", "--cluster", quiet, "--force").exit_code == 0
        # Where it is an end itself, nothing measures without it.
        assert "--force" not in smolmon("run", "mini2", "mini1", "--cluster", quiet).output

    def test_ctrl_c_on_a_terminal_leaves_no_traceback(self, nodes, quiet, tmp_path):
        say, log = nodes
        for destination in (self.PI4, "mini1"):
            # An end that takes its time; ssh takes it along when it is killed.
            say(destination, "end", "while kill -0 $SSH 2>/dev/null; do sleep 0.1; done")
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "smolmon", "bandwidth", "run", "pi4", "mini1"],
            env={**os.environ, "SMOLMON_CLUSTER": str(quiet), "PYTHONPATH": str(EXAMPLES.parent)},
            cwd=tmp_path,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown, told = bytearray(), False
        deadline = time.monotonic() + 60
        with contextlib.suppress(OSError):  # on Linux, how the end of a terminal shows
            while True:
                assert time.monotonic() < deadline
                if select.select([ours], [], [], 0.1)[0]:
                    shown += (more := os.read(ours, 65536))
                    if not more:
                        break
                if not told and len(log()) == 2 and b"pi4 -> mini1  [" in shown:
                    told = True
                    process.send_signal(signal.SIGINT)
        os.close(ours)
        assert process.wait(10) == 130
        assert b"Traceback" not in shown
        assert b"rror" not in shown


def answer(cluster, **others):
    """What Prometheus would say: every test gave ten times its number, in MB/s."""
    result = [
        {
            "metric": {"node": t.target, "target": t.source, "link": t.target_link},
            "value": [1.7e9, str((n + 1) * 10e6)],
        }
        for n, t in enumerate(declared_tests(cluster))
    ]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **others}


@pytest.fixture
def prometheus():
    """An HTTP server that gives `reply`, and the queries it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(parse_qs(urlsplit(self.path).query)["query"][0])
            body = json.dumps(answer(guide())).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Silent."""

    asked: list[str] = []
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


class TestBaseline:
    @pytest.fixture
    def file(self, tmp_path):
        file = tmp_path / "cluster.yaml"
        file.write_bytes(GUIDE.read_bytes())
        file.chmod(0o640)
        return file

    def test_records_what_prometheus_says(self, file, prometheus):
        url, asked = prometheus
        words = ["bandwidth", "baseline", "--cluster", str(file), "--prometheus", url]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
        assert asked == [smolmon("baseline", "--cluster", file, "--query").output.strip()]
        tests = declared_tests(load(file))
        assert [t.baseline for t in tests] == [(n + 1) * 10e6 for n in range(16)]
        assert all(t.expected == pytest.approx(0.7 * t.baseline) for t in tests)
        assert file.read_text().startswith(GUIDE.read_text())
        assert file.stat().st_mode & 0o777 == 0o640
        assert [p.name for p in file.parent.iterdir()] == ["cluster.yaml"]

    def test_a_second_time_changes_nothing(self, file, prometheus):
        url, _ = prometheus
        smolmon("baseline", "--cluster", file, "--prometheus", url)
        before = file.read_bytes()
        smolmon("baseline", "--cluster", file, "--prometheus", url)
        assert file.read_bytes() == before

    def test_a_plan_changes_nothing(self, file, prometheus):
        done = smolmon("baseline", "--cluster", file, "--prometheus", prometheus[0], "--plan")
        assert "16 of 16 tests would be recorded" in done.output
        assert file.read_bytes() == GUIDE.read_bytes()

    def test_from_a_file_with_some_results(self, file, tmp_path):
        some = answer(guide())
        some["data"]["result"] = some["data"]["result"][:2]
        saved = tmp_path / "answer.json"
        saved.write_text(json.dumps(some))
        done = smolmon("baseline", "--cluster", file, "--from", saved)
        assert done.exit_code == 0
        assert "no result in the last day: pi5->mini1, " in done.output
        assert len(load(file).bandwidth.baseline) == 2

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "not JSON"),
            ("[]", "no answer of Prometheus"),
            ('{"status": "error", "error": "bad"}', "Prometheus: bad"),
            ('{"status": "success", "data": {"result": []}}', "no results of cluster guide"),
        ],
    )
    def test_what_is_no_answer_is_one_line(self, file, tmp_path, text, words):
        saved = tmp_path / "answer.json"
        saved.write_text(text)
        done = smolmon("baseline", "--cluster", file, "--from", saved)
        assert done.exit_code == 1
        assert words in done.output
        assert len(done.output.splitlines()) == 1
        assert file.read_bytes() == GUIDE.read_bytes()

    def test_nobody_answers(self, file):
        done = smolmon("baseline", "--cluster", file, "--prometheus", "http://127.0.0.1:9")
        assert done.exit_code == 1
        assert done.output == (
            "127.0.0.1:9 refuses the connection; name Prometheus with --prometheus URL\n"
        )

    def test_there_is_no_such_file(self, file, tmp_path):
        done = smolmon("baseline", "--cluster", file, "--from", tmp_path / "none")
        assert done.exit_code == 1
        assert "none: No such file or directory; it must hold Prometheus' answer" in done.output

    def test_what_cannot_be_edited_is_left_alone(self, file, tmp_path):
        file.write_text(GUIDE.read_text() + "bandwidth: {period: 1h}\n")
        before = file.read_bytes()
        saved = tmp_path / "answer.json"
        saved.write_text(json.dumps(answer(guide())))
        done = smolmon("baseline", "--cluster", file, "--from", saved)
        assert done.exit_code == 1
        assert "over several lines" in done.output
        assert file.read_bytes() == before


def test_the_agent_has_what_the_nodes_run(tmp_path: Path):
    """One file, and nothing else of smolmon: it starts its own children too."""
    from smolmon.setup.agent import build  # noqa: PLC0415

    agent = tmp_path / "smolmon.pyz"
    agent.write_bytes(build())
    code = (
        f"import sys; sys.path.insert(0, {str(agent)!r})\n"
        "from smolmon.exporter.bandwidth import cage, job\n"
        "import asyncio\n"
        f"assert cage.command()[-1] == {str(agent)!r}\n"
        "answer = asyncio.run(cage.caged(job.Job('check', lifetime=30.0)))\n"
        "assert answer is None or answer.library, answer\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_ctrl_c_ends_it_without_a_word(tmp_path):
    """Both ends' ssh wait for ever here; the signal is sent once both have started."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\necho x >>"{tmp_path}/started"\nexec sleep 600\n')
    ssh.chmod(0o755)
    command = [sys.executable, "-m", "smolmon", "bandwidth", "run", "mini1", "mini2", "--force"]
    process = subprocess.Popen(
        [*command, "--cluster", str(GUIDE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PATH": f"{ssh.parent}:{os.environ['PATH']}"},
        start_new_session=True,
    )
    end = time.monotonic() + 30
    started = tmp_path / "started"
    while not (started.exists() and started.read_text().count("x") == 2):
        assert time.monotonic() < end, process.communicate()
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", None)
    assert process.returncode == 130
