"""`smolmon exporter`: what runs on every node."""

from __future__ import annotations

import difflib
import hashlib
import logging
import sys
from ipaddress import ip_address
from pathlib import Path

import click

from smolmon.cluster import Cluster
from smolmon.commands.options import cluster_option, load_cluster

LOOPBACK = "127.0.0.1"


@click.command()
@click.option("--node", required=True, metavar="NAME", help="Which node of the cluster this is.")
@cluster_option
@click.option(
    "--listen",
    metavar="ADDR:PORT",
    show_default="127.0.0.1 and the cluster file's port",
    help="Where to serve the metrics.",
)
def exporter(node: str, cluster_file: str, listen: str | None) -> None:
    """Run this node's exporter."""
    cluster = load_cluster(cluster_file)
    _known(cluster, node, cluster_file)
    address, port = _endpoint(listen) if listen else (LOOPBACK, cluster.exporter_port)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")

    from smolmon.exporter.host import UnsupportedPlatformError, this_host  # noqa: PLC0415
    from smolmon.exporter.run import run  # noqa: PLC0415
    from smolmon.exporter.web import listener  # noqa: PLC0415

    try:
        host = this_host()
        sock = listener(address, port, host.free_bind)
    except UnsupportedPlatformError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(
            f"cannot listen on {address}, port {port}: {error.strerror}; see `--listen`", err=True
        )
        sys.exit(1)
    digest = hashlib.sha256(Path(cluster_file).read_bytes()).hexdigest()[:16]
    run(cluster, node, digest, host, sock)


def _known(cluster: Cluster, node: str, cluster_file: str) -> None:
    names = [n.name for n in cluster.nodes]
    if node in names:
        return
    near = difflib.get_close_matches(node, names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(names)}"
    click.echo(f"{cluster_file}: there is no node `{node}`; {hint}", err=True)
    sys.exit(2)


def _endpoint(listen: str) -> tuple[str, int]:
    """`192.168.1.11:9742` or `[fe80::1]:9742` as address and port."""
    host, _, port = listen.rpartition(":")
    try:
        address = str(ip_address(host[1:-1] if host.startswith("[") else host))
    except ValueError:
        address = ""
    if not address or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(
            f"{listen!r} is not an address and a port such as 192.168.1.11:9742",
            param_hint="--listen",
        )
    return address, int(port)
