"""Signs of life of a machine whose exporter is silent."""

import socket

from smolmon.doctor import witness
from smolmon.observe.exporters import Scrape, Why


def scrape(why):
    return Scrape("n", (), why, "")


def test_a_machine_that_refuses_is_there():
    # TEST-NET-1 (RFC 5737) is nobody's address.
    assert witness.present([(scrape(Why.REFUSED), "192.0.2.1")]) == {"n": True}
    assert witness.present([(scrape(Why.CERTIFICATE), "192.0.2.1")]) == {"n": True}


def test_of_a_silent_one_there_are_two_witnesses(monkeypatch):
    monkeypatch.setattr(witness, "PATIENCE", 0.2)
    asked = [(scrape(Why.TIMEOUT), "127.0.0.1")]
    monkeypatch.setattr(witness, "pings", lambda _: False)
    assert witness.present(asked) == {"n": True}  # the ssh port is open, or refused
    monkeypatch.setattr(witness, "knocks", lambda _: False)
    assert witness.present(asked) == {"n": False}


def test_a_port_that_is_open_and_one_that_is_closed_are_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert witness.knocks("127.0.0.1", port)
    assert witness.knocks("127.0.0.1", port)


def test_no_such_name():
    assert not witness.knocks("no-such-host.invalid")
    assert not witness.pings("no-such-host.invalid")
