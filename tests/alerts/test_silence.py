"""setup's silence in a real Alertmanager: nobody is told while it works, on every way out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from attrs import evolve, frozen

from smolmon.alertmanager import Alertmanager
from smolmon.alerts.render import Trust, render, write
from smolmon.cluster import Cluster
from smolmon.setup.silence import LONGEST, silenced
from tests.alerts.scenarios import GUIDE
from tests.alerts.services import Service, alertmanager, serving
from tests.alerts.test_notifications import until

Tool = Callable[[str], str]


@frozen
class Here:
    cluster: Cluster
    url: str
    service: Service

    def silences(self) -> list[dict[str, Any]]:
        with urlopen(f"{self.url}/api/v2/silences", timeout=5) as answer:  # noqa: S310
            found: list[dict[str, Any]] = json.load(answer)
            return found

    def raises(self, alert: str, minutes: float = 5, **labels: str) -> None:
        common = {"alertname": alert, "cluster": "guide", "severity": "critical", "class": "cause"}
        end = datetime.now(timezone.utc) + timedelta(minutes=minutes)
        Alertmanager(self.url).post_alert(common | labels, {"summary": alert}, end)

    def ends(self, alert: str, **labels: str) -> None:
        self.raises(alert, minutes=0, **labels)

    def told(self) -> set[str]:
        return {post.json["groupLabels"]["alertname"] for post in self.service.posts}

    def state(self, alert: str) -> str:
        (found,) = Alertmanager(self.url).alerts(alertname=alert)
        return found.state


@pytest.fixture
def here(tool: Tool, tmp_path: Path) -> Iterator[Here]:
    service = Service()
    write(tmp_path, render(GUIDE, Trust("c", "k", "a"), 20, f"{service.url}/"))
    config = tmp_path / "alertmanager" / "alertmanager.yml"
    with serving(service), alertmanager(tool, tmp_path, config) as url:
        cluster = evolve(GUIDE, monitor=evolve(GUIDE.monitor, alertmanager=url))
        yield Here(cluster, url, service)


def ends_in(silence: dict[str, Any]) -> float:
    end = datetime.fromisoformat(silence["endsAt"].replace("Z", "+00:00"))
    return (end - datetime.now(timezone.utc)).total_seconds()


def test_what_a_change_makes_others_see_is_silent(here: Here) -> None:
    said: list[str] = []
    with silenced(here.cluster, ["mini3"], said.append):
        here.raises("ItsOwn", node="mini3")
        here.raises("Behind", node="pi4")
        here.raises("Neighbour", node="mini2")
        here.raises("OfNoNode")
        here.raises("Elsewhere", node="pi5")
        here.raises("OtherCluster", node="mini3", cluster="other")
        until(here.told, {"Elsewhere", "OtherCluster"})
        for alert in ("ItsOwn", "Behind", "Neighbour", "OfNoNode"):
            assert here.state(alert) == "suppressed"
    assert said == ["alerts of what changes on mini3 are silenced until it is done"]


@pytest.mark.parametrize("ending", [None, RuntimeError, KeyboardInterrupt, asyncio.CancelledError])
def test_it_is_lifted_on_every_way_out(here: Here, ending: type[BaseException] | None) -> None:
    def work() -> None:
        with silenced(here.cluster, ["mini3", "pi5"], lambda _: None):
            (silence,) = here.silences()
            assert silence["status"]["state"] == "active"
            assert silence["comment"] == "smolmon setup changes mini3, pi5"
            assert 600 < ends_in(silence) <= LONGEST.seconds
            if ending:
                raise ending

    if ending:
        with pytest.raises(ending):
            work()
    else:
        work()
    # A group interval is 1.5 s at this speed.
    assert all(ends_in(silence) <= 3 for silence in here.silences())


def test_an_alert_that_goes_on_is_told_when_it_is_over(here: Here) -> None:
    with silenced(here.cluster, ["mini3"], lambda _: None):
        here.raises("StillThere", node="mini3")
        until(lambda: here.state("StillThere"), "suppressed")
    # It may be over in a moment: that much longer than without an alert.
    (silence,) = [s for s in here.silences() if s["status"]["state"] == "active"]
    assert 3 < ends_in(silence) <= 6
    assert here.told() == set()
    until(here.told, {"StillThere"})


def test_what_was_told_before_is_told_to_be_over(here: Here) -> None:
    """People run setup because they were told of something; they want to hear that it worked."""
    here.raises("Known", node="mini3")
    until(here.told, {"Known"})
    with silenced(here.cluster, ["mini3"], lambda _: None):
        here.raises("New", node="mini3")
        until(lambda: here.state("New"), "suppressed")
        assert here.state("Known") == "active"
        here.ends("Known", node="mini3")
        until(lambda: here.service.posts[-1].json["status"], "resolved")
        assert here.told() == {"Known"}


def test_a_silence_that_cannot_be_lifted_is_told(tool: Tool, tmp_path: Path) -> None:
    write(tmp_path, render(GUIDE, Trust("c", "k", "a"), 20, "http://127.0.0.1:1/"))
    config = tmp_path / "alertmanager" / "alertmanager.yml"
    said: list[str] = []
    with ExitStack() as monitor, ExitStack() as setup:
        url = monitor.enter_context(alertmanager(tool, tmp_path, config))
        cluster = evolve(GUIDE, monitor=evolve(GUIDE.monitor, alertmanager=url))
        setup.enter_context(silenced(cluster, ["mini3"], said.append))
        monitor.close()
    assert len(said) == 2
    assert said[1].startswith("the silence is not lifted and goes on until 20")
    assert f"no Alertmanager answers at {url}: Connection refused; amtool silence" in said[1]


def test_nothing_to_change_is_nothing_to_silence(here: Here) -> None:
    with silenced(here.cluster, [], lambda _: None):
        assert here.silences() == []
