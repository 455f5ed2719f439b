"""`smolmon exporter`: what runs on every node."""

from __future__ import annotations

import logging
import os
import shutil
import ssl
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smolmon.commands.options import cluster_option

if TYPE_CHECKING:
    from smolmon.exporter.declaration import Declaration
    from smolmon.exporter.host import Host
    from smolmon.exporter.tls import Watch

LOOPBACK = "127.0.0.1"


@click.command()
@click.option("--node", required=True, metavar="NAME", help="Which node of the cluster this is.")
@cluster_option
@click.option(
    "--listen",
    metavar="ADDR:PORT",
    show_default="127.0.0.1, with client certificates the node's management address; "
    "the cluster file's port",
    help="Where to serve the metrics.",
)
@click.option(
    "--web.config.file",
    "web_config_file",
    metavar="FILE",
    help="TLS and headers, in the format of Prometheus' exporter-toolkit.",
)
@click.option(
    "--web.max-requests",
    "most_requests",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    help="Answer at most so many scrapes at the same time.",
)
@click.option("--once", is_flag=True, help="Look once, print a table, and exit.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print one JSON object.")
def exporter(
    *,
    node: str,
    cluster_file: str,
    listen: str | None,
    web_config_file: str | None,
    most_requests: int,
    once: bool,
    as_json: bool,
) -> None:
    """Run this node's exporter."""
    if as_json and not once:
        raise click.UsageError("--json goes with --once")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")

    from smolmon.exporter import declaration  # noqa: PLC0415
    from smolmon.exporter.host import UnsupportedPlatformError, this_host  # noqa: PLC0415

    path = Path(cluster_file)
    endpoint = _endpoint(listen) if listen else None
    try:
        declared = declaration.load(path, node)
    except declaration.DeclarationError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    try:
        host = this_host()
    except UnsupportedPlatformError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    if once:
        _once(declared, host, as_json)
    else:
        _serve(
            path,
            declared,
            host,
            endpoint,
            web_config_file=web_config_file,
            most_requests=most_requests,
        )


def _once(declared: Declaration, host: Host, as_json: bool) -> None:
    from smolmon.exporter import once  # noqa: PLC0415

    logging.getLogger().setLevel(logging.ERROR)  # what is wrong stands in the table
    report = once.look(declared, host)
    click.echo(once.as_json(report) if as_json else once.as_table(report, width=_terminal()))
    sys.exit(0 if report.as_expected else 1)


def _terminal() -> int | None:
    """How wide a terminal standard output is; None where it shows no colours, or only ASCII."""
    utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    fine = sys.stdout.isatty() and utf8 and "NO_COLOR" not in os.environ
    return shutil.get_terminal_size().columns if fine else None


def _serve(
    path: Path,
    declared: Declaration,
    host: Host,
    endpoint: tuple[str, int] | None,
    *,
    web_config_file: str | None,
    most_requests: int,
) -> None:
    from smolmon.exporter.run import Serving, run  # noqa: PLC0415
    from smolmon.exporter.tls import TlsError, Watch  # noqa: PLC0415
    from smolmon.exporter.web import listener  # noqa: PLC0415
    from smolmon.exporter.web_config import WebConfigError  # noqa: PLC0415

    try:
        web_config = Watch(Path(web_config_file)) if web_config_file else None
    except (WebConfigError, TlsError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    address, port = endpoint or (
        _default_address(declared, web_config),
        declared.cluster.exporter_port,
    )
    try:
        sock = listener(address, port, host.free_bind)
    except OSError as error:
        click.echo(
            f"cannot listen on {address}, port {port}: {error.strerror}; see `--listen`", err=True
        )
        sys.exit(1)
    run(path, declared, host, Serving(sock, web_config, most_requests))


def _default_address(declared: Declaration, web_config: Watch | None) -> str:
    """The management address where only clients with a certificate are let in, else loopback."""
    management = declared.cluster.node(declared.node).management
    tls = web_config.now().config.tls if web_config else None
    if tls is None or tls.client_auth is not ssl.CERT_REQUIRED:
        return LOOPBACK
    try:
        return str(ip_address(management))
    except ValueError:  # a name; which of its addresses is for scrapes, only the user can say
        return LOOPBACK


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
