"""A real Alertmanager on loopback: what arrives is readable, and nothing is lost on the way."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from email import message_from_string
from email.header import decode_header, make_header
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml
from click.testing import CliRunner

from smolmon.alertmanager import Alertmanager
from smolmon.alerts.notify_text import NTFY_MESSAGE, NTFY_TITLE, TEXT, TITLE
from smolmon.alerts.render import ALERTMANAGER, render, write
from smolmon.cli import cli
from smolmon.commands.render import trust_of
from tests.alerts.scenarios import GUIDE, ROOT
from tests.alerts.services import Mail, Post, Service, alertmanager, serving
from tests.alerts.test_notifications import free_address, running, until
from tests.programs import NEWER, program

Tool = Callable[[str], str]
FILE = (ROOT / "examples" / "guide.yaml").read_text()
SUMMARY = "This is a test, nothing is wrong"
FIX = "Fix: there is nothing to do."


def as_alertmanager_has_it(template: str) -> str:
    """A template for ntfy, which reads JSON, as one for Alertmanager, which has it in Go."""
    template = template.replace("\\n", "\n").partition("{{if .truncatedAlerts}}")[0]
    for name in ("status", "alerts", "annotations", "commonLabels"):
        template = template.replace(f".{name}", f".{name[0].upper()}{name[1:]}")
    return template


def configured(folder: Path, service: Service, mail: Mail) -> Path:
    """A cluster file with a receiver of each kind that can be had on loopback, and its rendering.

    The receiver `probe` shows what ntfy would make of the templates that it is sent.
    """
    (folder / "slack").write_text(f"{service.url}/slack\n")
    (folder / "probe").write_text(f"{service.url}/probe\n")
    (folder / "token").write_text("sesame")
    smtp = f"smarthost: '127.0.0.1:{mail.server_address[1]}', tls: false"
    cluster_file = folder / "cluster.yaml"
    cluster_file.write_text(
        f"{FILE}notify:\n  local: '{service.url}/local'\n  receivers:\n"
        f"    hook: {{kind: webhook, url: '{service.url}/hook', token_file: token}}\n"
        f"    phone: {{kind: ntfy, url: '{service.url}/alerts', token_file: token}}\n"
        "    team: {kind: slack, url_file: slack}\n"
        "    probe: {kind: slack, url_file: probe}\n"
        f"    mail: {{kind: email, to: a@b.example, from: c@d.example, {smtp}, "
        "username: me, password_file: token}\n"
    )
    CliRunner().invoke(cli, ["render", str(folder), "--cluster", str(cluster_file)])
    config = folder / "alertmanager" / "alertmanager.yml"
    edited = yaml.safe_load(config.read_text())
    edited["route"]["group_wait"] = "0s"
    (probe,) = next(r for r in edited["receivers"] if r["name"] == "probe")["slack_configs"]
    probe["title"] = as_alertmanager_has_it(NTFY_TITLE)
    probe["text"] = as_alertmanager_has_it(NTFY_MESSAGE)
    config.write_text(yaml.safe_dump(edited))
    return cluster_file


def test_what_arrives(tool: Tool, tmp_path: Path) -> None:
    service, mail = Service(), Mail()
    cluster_file = configured(tmp_path, service, mail)
    with ExitStack() as stack:
        stack.enter_context(serving(service))
        stack.enter_context(serving(mail))
        config = tmp_path / "alertmanager" / "alertmanager.yml"
        url = stack.enter_context(alertmanager(tool, tmp_path, config))
        command = ["notify", "test", "--cluster", str(cluster_file), "--alertmanager", url]
        result = CliRunner().invoke(cli, [*command, "--json"])
        assert result.exit_code == 0, result.output
        outcomes = json.loads(result.output)["outcomes"]
        names = ["local", "hook", "phone", "team", "probe", "mail"]
        assert {o["receiver"]: o["state"] for o in outcomes} == dict.fromkeys(names, "delivered")
    told = {path: service.at(path) for path in ("/local", "/hook", "/alerts", "/slack", "/probe")}
    assert {path: len(posts) for path, posts in told.items()} == dict.fromkeys(told, 1)
    check_webhooks(told["/local"][0], told["/hook"][0])
    check_ntfy(told["/alerts"][0], told["/probe"][0])
    check_slack(told["/slack"][0])
    check_mail(mail)


def check_webhooks(local: Post, hook: Post) -> None:
    for post in (local, hook):
        assert [a["annotations"]["summary"] for a in post.json["alerts"]] == [SUMMARY]
    assert hook.headers["Authorization"] == "Bearer sesame"
    assert "Authorization" not in local.headers


def check_ntfy(post: Post, shown: Post) -> None:
    assert post.headers["Authorization"] == "Bearer sesame"
    query = parse_qs(urlsplit(post.path).query, strict_parsing=True)
    assert query == {"template": ["yes"], "title": [NTFY_TITLE], "message": [NTFY_MESSAGE]}
    (attachment,) = shown.json["attachments"]
    assert attachment["title"] == f"critical guide: {SUMMARY}"
    assert attachment["text"].startswith(f"{SUMMARY}\n`smolmon notify test` on ")
    assert attachment["text"].rstrip().endswith(FIX)


def check_slack(post: Post) -> None:
    (attachment,) = post.json["attachments"]
    assert attachment["title"] == f"CRITICAL guide: {SUMMARY}"
    assert attachment["text"].startswith(f"{SUMMARY}\n\n`smolmon notify test` on ")
    assert FIX in attachment["text"]
    assert "docs/notifications.md" in attachment["text"]


def check_mail(mail: Mail) -> None:
    (text,) = mail.messages
    message = message_from_string(text)
    assert str(make_header(decode_header(message["Subject"]))) == f"CRITICAL guide: {SUMMARY}"
    (part,) = [p for p in message.walk() if p.get_content_type() == "text/plain"]
    body = part.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert FIX in body.decode()
    assert [base64.b64decode(login) for login in mail.logins] == [b"\0me\0sesame"]


def test_what_arrives_by_urls_that_are_secret(tmp_path: Path) -> None:
    tool = partial(program, kept_in=NEWER)
    service = Service()
    for name in ("ntfy", "discord", "hook"):
        (tmp_path / name).write_text(f"{service.url}/{name}\n")
    cluster_file = tmp_path / "cluster.yaml"
    cluster_file.write_text(
        f"{FILE}notify:\n  local: none\n  receivers:\n"
        "    phone: {kind: ntfy, url_file: ntfy}\n"
        "    team: {kind: discord, url_file: discord}\n"
        "    hook: {kind: webhook, url_file: hook}\n"
    )
    CliRunner().invoke(cli, ["render", str(tmp_path), "--cluster", str(cluster_file)])
    config = tmp_path / "alertmanager" / "alertmanager.yml"
    with serving(service), alertmanager(tool, tmp_path, config) as url:
        command = ["notify", "test", "--cluster", str(cluster_file), "--alertmanager", url]
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 0, result.output
    (post,) = service.at("/ntfy")
    asked = {key: post.headers[f"X-{key}"] for key in ("Template", "Title", "Message")}
    assert asked == {"Template": "yes", "Title": NTFY_TITLE, "Message": NTFY_MESSAGE}
    (post,) = service.at("/discord")
    (embed,) = post.json["embeds"]
    assert embed["title"] == f"CRITICAL guide: {SUMMARY}"
    assert FIX in embed["description"]
    assert len(service.at("/hook")) == 1


def test_many_alerts_are_one_message_of_bounded_length(tool: Tool, tmp_path: Path) -> None:
    service = Service()
    write(tmp_path, render(GUIDE, trust_of(GUIDE), 20, f"{service.url}/"))
    config = tmp_path / "alertmanager" / "alertmanager.yml"
    edited = yaml.safe_load(config.read_text())
    (tmp_path / "url").write_text(service.url)
    slack = {"api_url_file": str(tmp_path / "url"), "send_resolved": True}
    slack |= {"title": TITLE, "text": TEXT}
    edited["receivers"][1] = {"name": "local", "slack_configs": [slack]}
    config.write_text(yaml.safe_dump(edited))
    end = datetime.now(timezone.utc) + timedelta(minutes=5)
    with serving(service), alertmanager(tool, tmp_path, config) as url:
        for number in range(40):
            node = f"n{number:02}"
            labels = {"alertname": "A", "class": "symptom", "cluster": "c", "node": node}
            said = {"summary": f"summary of {node}", "description": f"evidence of {node} <&>"}
            Alertmanager(url).post_alert(labels | {"severity": "warning"}, said, end)
        until(lambda: len(service.posts), 1)
    (attachment,) = service.posts[0].json["attachments"]
    assert attachment["title"] == "WARNING c: summary of n00 (40 alerts)"
    lines = [line for line in attachment["text"].splitlines() if line]
    full = [line for n in range(3) for line in (f"summary of n{n:02}", f"evidence of n{n:02} <&>")]
    assert lines == [*full, *(f"summary of n{n:02}" for n in range(3, 20))]


def test_a_receiver_that_fails_at_first_gets_it(tool: Tool, tmp_path: Path) -> None:
    service = Service(failures=2)
    write(tmp_path, render(GUIDE, trust_of(GUIDE), 20, f"{service.url}/"))
    end = datetime.now(timezone.utc) + timedelta(minutes=5)
    config = tmp_path / "alertmanager" / "alertmanager.yml"
    with serving(service), alertmanager(tool, tmp_path, config) as url:
        labels = {"alertname": "A", "cluster": "c", "severity": "critical", "node": "n"}
        Alertmanager(url).post_alert(labels, {"summary": "lost?"}, end)
        until(lambda: len(service.posts), 1)
        assert service.refused == 2
        assert service.posts[0].json["alerts"][0]["annotations"]["summary"] == "lost?"
        counts = Alertmanager(url).samples("alertmanager_notification_requests_failed_total")
        assert counts[("integration", "webhook"),] == 2


def test_an_alertmanager_that_is_not_there_at_first_hears_of_it(tool: Tool, tmp_path: Path) -> None:
    """Prometheus drops what it cannot hand over; but it says again what goes on."""
    service = Service()
    address = free_address()
    rule = {"alert": "A", "expr": "vector(1)", "labels": {"severity": "critical"}}
    texts = {
        path: "[]" if path.startswith("prometheus/targets/") else text
        for path, text in render(GUIDE, trust_of(GUIDE), 20, f"{service.url}/").items()
        if not path.startswith("prometheus/rules/")
    }
    name = "prometheus/prometheus.yml"
    texts[name] = texts[name].replace(ALERTMANAGER, address)
    groups = [{"name": "always", "rules": [rule]}]
    texts["prometheus/rules/always.yml"] = yaml.safe_dump({"groups": groups})
    write(tmp_path, texts)
    prometheus = free_address()
    dropped = "prometheus_notifications_dropped_total"

    def lost() -> bool:
        try:
            return sum(Alertmanager(f"http://{prometheus}").samples(dropped).values()) > 0
        except OSError:
            return False

    with ExitStack() as stack:
        stack.enter_context(serving(service))
        stack.enter_context(
            running(
                tmp_path / "prometheus.log",
                tool("prometheus"),
                f"--config.file={tmp_path / name}",
                f"--storage.tsdb.path={tmp_path / 'prometheus-data'}",
                f"--web.listen-address={prometheus}",
                "--rules.alert.resend-delay=2s",  # by default a minute
            )
        )
        until(lost, True)
        config = tmp_path / "alertmanager" / "alertmanager.yml"
        stack.enter_context(alertmanager(tool, tmp_path, config, address))
        until(
            lambda: {post.json["groupLabels"]["alertname"] for post in service.posts},
            {"A"},
        )
