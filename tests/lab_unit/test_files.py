"""What is written into the machines."""

from pathlib import Path

import pytest

from smolmon.cluster import load
from smolmon.lab.files import Accounts, File, KeyPair, Keys, for_machine
from smolmon.lab.plan import CONTROLLER, plan
from smolmon.lab.rootfs import DEFAULT_MIRROR, mirror

GUIDE = plan(load(Path(__file__).parents[2] / "examples/guide.yaml"))
KEYS = Keys(
    KeyPair("secret\n", "ssh-ed25519 CLIENT me\n"),
    {m.name: KeyPair(f"secret {m.name}\n", f"ssh-ed25519 {m.name} x\n") for m in GUIDE.machines},
)
ACCOUNTS = Accounts(
    "root:x:0:0:root:/root:/bin/bash\npi:x:7:7::/:/bin/false\n", "root:*:1::::::\n", "root:x:0:\n"
)


def files(name: str) -> dict[str, File]:
    return {f.path: f for f in for_machine(GUIDE, GUIDE.machine(name), KEYS, ACCOUNTS)}


def test_the_user_of_the_destination_logs_in_with_the_controllers_key() -> None:
    found = files("pi5")
    assert found["/etc/passwd"].text.splitlines() == [
        "root:x:0:0:root:/root:/bin/bash",
        "pi:x:1000:1000::/home/pi:/bin/bash",
    ]
    assert "pi:*:" in found["/etc/shadow"].text
    key = found["/home/pi/.ssh/authorized_keys"]
    assert (key.text, key.mode, key.uid) == ("ssh-ed25519 CLIENT me\n", 0o600, 1000)
    assert found["/etc/sudoers.d/smolmon-lab"].text == "pi ALL=(ALL) NOPASSWD: ALL\n"


def test_sudo_finds_its_own_host() -> None:
    assert "127.0.1.1 pi5\n" in files("pi5")["/etc/hosts"].text


def test_the_controller_knows_every_host_key_by_every_name() -> None:
    known = files(CONTROLLER)["/root/.ssh/known_hosts"].text.splitlines()
    assert len(known) == 6
    assert "pi5,192.168.1.14 ssh-ed25519 pi5" in known


def test_the_controller_reaches_an_alias() -> None:
    config = files(CONTROLLER)["/root/.ssh/config"].text
    assert "Host mini1 192.168.1.11\n    HostName 192.168.1.11\n    User smol\n" in config


def test_network_manager_keeps_off_what_is_the_labs() -> None:
    settings = files("mini2")["/etc/NetworkManager/NetworkManager.conf"].text
    (line,) = [x for x in settings.splitlines() if x.startswith("unmanaged-devices=")]
    devices = line.partition("=")[2].split(";")
    own = (GUIDE.machine("mini2").wifi, "lab-in", "lab-a", "lab-b", "lab-br")
    assert devices == [f"interface-name:={name}" for name in own]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("", DEFAULT_MIRROR),
        ("deb http://ftp.de.debian.org/debian/ bookworm main\n", "http://ftp.de.debian.org/debian"),
        (
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\n",
            "http://mirror.example/debian",
        ),
        (
            "# deb http://old.example/debian stable main\n"
            "deb http://security.debian.org/debian-security bookworm-security main\n"
            "deb http://archive.ubuntu.com/ubuntu noble main\n",
            DEFAULT_MIRROR,
        ),
        (
            "deb [signed-by=/k.gpg] https://m.example/debian bookworm main",
            "https://m.example/debian",
        ),
    ],
)
def test_the_mirror_is_the_hosts(sources: str, expected: str) -> None:
    assert mirror(sources) == expected
