"""The section `monitor`: what it means, and every problem with its line, key and remedy."""

from __future__ import annotations

import pytest

from smolmon.cluster import ClusterError, Monitor, RemoteWrite, parse
from tests.cluster.clusters import GUIDE

TEXT = GUIDE.read_text()
LINE = TEXT.count("\n") + 2


def monitor(section: str) -> Monitor:
    return parse(f"{TEXT}\nmonitor: {section}\n").monitor


def test_without_the_section_all_is_on_this_machine() -> None:
    usual = parse(TEXT).monitor
    assert usual == Monitor() == monitor("")
    assert usual.alertmanager == "http://127.0.0.1:9093"
    assert (usual.scrape_interval, usual.retention, usual.agent) == (5.0, "90d", False)


def test_all_of_it() -> None:
    assert monitor(
        "{prometheus: 'http://watch:9999', alertmanager: 'https://alerts.lan/',"
        " scrape_interval: 2s, retention: 1y, external_labels: {site: attic, replica: a},"
        " agent: true,"
        " remote_write: [{url: 'https://m.example/api/v1/write', username: u, password_file: f},"
        " {url: 'http://n/write', credentials_file: secrets/token}, {url: 'http://o:1/w'}]}"
    ) == Monitor(
        prometheus="http://watch:9999",
        alertmanager="https://alerts.lan",
        scrape_interval=2.0,
        retention="1y",
        external_labels=(("site", "attic"), ("replica", "a")),
        remote_write=(
            RemoteWrite("https://m.example/api/v1/write", "u", "f"),
            RemoteWrite("http://n/write", credentials_file="secrets/token"),
            RemoteWrite("http://o:1/w"),
        ),
        agent=True,
    )


REMOTE = "remote_write: [{url: 'http://x/w'"


@pytest.mark.parametrize(
    ("section", "key", "words"),
    [
        ("[]", "monitor", "must be a mapping with `prometheus`, `alertmanager`"),
        ("{retenton: 90d}", "monitor.retenton", "did you mean `retention`?"),
        ("{retention: 90}", "monitor.retention", "'90' is not a number of `h`, `d`, `w` or `y`"),
        ("{retention: 0d}", "monitor.retention", "such as 90d"),
        ("{scrape_interval: 5}", "monitor.scrape_interval", "not a number with a unit"),
        ("{scrape_interval: 15s}", "monitor.scrape_interval", "must be from 1s to 5s"),
        ("{alertmanager: '127.0.0.1:9093'}", "monitor.alertmanager", "is not a URL such as"),
        ("{alertmanager: []}", "monitor.alertmanager", "a list is not a URL"),
        ("{alertmanager: 'http://a:b'}", "monitor.alertmanager", "is not a URL such as"),
        ("{prometheus: 'http://a/prom'}", "monitor.prometheus", "without a path"),
        ("{external_labels: [a]}", "monitor.external_labels", "a mapping such as {site: attic}"),
        ("{external_labels: {a-b: c}}", "monitor.external_labels.a-b", "no name for a label"),
        ("{external_labels: {cluster: c}}", "monitor.external_labels.cluster", "sets this label"),
        ("{external_labels: {a: $HOME}}", "monitor.external_labels.a", "without `$`"),
        ("{external_labels: {a: }}", "monitor.external_labels.a", "nothing is not a label's value"),
        ("{agent: yes}", "monitor.agent", "neither `true` nor `false`"),
        ("{agent: true}", "monitor.agent", "add `remote_write: [{url: URL}]`"),
        ("{remote_write: {url: 'http://x'}}", "monitor.remote_write", "must be a list such as"),
        ("{remote_write: []}", "monitor.remote_write", "must be a list such as"),
        ("{remote_write: [{}]}", "monitor.remote_write[0]", "`url` is missing"),
        (f"{{{REMOTE}, password: x}}]}}", "monitor.remote_write[0].password", "did you mean `pass"),
        (f"{{{REMOTE}, username: x}}]}}", "monitor.remote_write[0]", "belong together"),
        (
            f"{{{REMOTE}, username: x, password_file: y, credentials_file: z}}]}}",
            "monitor.remote_write[0]",
            "has two ways to log in",
        ),
        (
            "{remote_write: [{url: 'https://me:hunter2 @x/w'}]}",
            "monitor.remote_write[0].url",
            "has a user or a password in it; name a file with it: `password_file`",
        ),
    ],
)
def test_each_problem_names_line_key_and_remedy(section: str, key: str, words: str) -> None:
    with pytest.raises(ClusterError) as caught:
        monitor(section)
    (problem,) = map(str, caught.value.problems)
    assert problem.startswith(f"cluster.yaml:{LINE}: {key}: ")
    assert words in problem
    assert "hunter2" not in problem
