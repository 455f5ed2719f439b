"""Certificates made by the openssl program."""

import subprocess
from pathlib import Path

from attrs import frozen

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


@frozen
class Pair:
    cert: Path
    key: Path


def openssl(*arguments):
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def authority(folder, name="ca"):
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    openssl(
        *("req", "-x509", *KEY, "-subj", f"/CN={name}", "-keyout", pair.key, "-out", pair.cert),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),  # Python 3.13 insists
    )
    return pair


def signed(folder, name, ca, *, sans="DNS:localhost,IP:127.0.0.1", days=10):
    """A certificate of that authority, valid for both ends."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    openssl(
        *("req", "-x509", *KEY, "-subj", f"/CN={name}", "-days", days),
        *("-CA", ca.cert, "-CAkey", ca.key, "-keyout", pair.key, "-out", pair.cert),
        *("-addext", f"subjectAltName={sans}", "-addext", "basicConstraints=critical,CA:FALSE"),
    )
    return pair
