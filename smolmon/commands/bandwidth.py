"""`smolmon bandwidth`: the timetable of the tests, one test now, and what links usually do.

The hidden command runs on the nodes, from the agent: this file must load without `setup`.
"""

from __future__ import annotations

import sys

import click

from smolmon.commands.options import cluster_option, load_cluster, prometheus_option


@click.group()
def bandwidth() -> None:
    """Measure what the links carry."""


@bandwidth.command()
@cluster_option
@click.option("--node", metavar="NODE", help="Only the tests that this node takes part in.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def schedule(cluster_file: str, node: str | None, as_json: bool) -> None:
    """Show when each test runs next.

    Every node works it out by itself, from the cluster file and its clock.
    """
    from smolmon.commands.bandwidth_schedule import show  # noqa: PLC0415

    cluster = load_cluster(cluster_file)
    if node is not None and node not in [n.name for n in cluster.nodes]:
        names = ", ".join(n.name for n in cluster.nodes)
        raise click.UsageError(f"there is no node {node}; nodes are {names}")
    click.echo(show(cluster, node, as_json=as_json))


@bandwidth.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@cluster_option
@click.option("--force", is_flag=True, help="Measure beside training, traffic and other tests.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(*, source: str, target: str, cluster_file: str, force: bool, as_json: bool) -> None:
    """Test now what SRC can send to DST.

    The agents on both nodes do it; `smolmon setup` installs them. Refused while training runs,
    on whichever nodes.
    Exit code: 0 as expected, 1 slower, or not measured.
    """
    from smolmon.commands.bandwidth_run import run_test  # noqa: PLC0415

    cluster = load_cluster(cluster_file)
    try:
        code = run_test(cluster, source, target, force=force, as_json=as_json)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


@bandwidth.command()
@cluster_option
@prometheus_option("Where to ask for the results of the last day.")
@click.option(
    "--from",
    "answer_file",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Read Prometheus' answer from a file instead; --query prints what to ask.",
)
@click.option("--query", "only_query", is_flag=True, help="Print the query, and do nothing.")
@click.option("--plan", "only_plan", is_flag=True, help="Show the figures; change nothing.")
def baseline(
    *,
    cluster_file: str,
    url: str | None,
    answer_file: str | None,
    only_query: bool,
    only_plan: bool,
) -> None:
    """Record what the links do today as what is expected of them.

    Writes the median of the last day's results into the cluster file, and touches nothing else in
    it. From then on a test that stays 30 % (`bandwidth.tolerance`) below its figure is too slow.
    """
    from smolmon.commands.bandwidth_baseline import query, record  # noqa: PLC0415

    cluster = load_cluster(cluster_file)
    if only_query:
        click.echo(query(cluster))
        return
    url = url or cluster.monitor.prometheus
    sys.exit(record(cluster, cluster_file, url, answer_file, only_plan=only_plan))


@bandwidth.command(hidden=True)
@cluster_option
@click.option("--node", required=True)
@click.option("--source", required=True)
@click.option("--target", required=True)
@click.option("--force", is_flag=True)
def end(*, cluster_file: str, node: str, source: str, target: str, force: bool) -> None:
    """One end of a test, now: what `smolmon bandwidth run` starts on both nodes."""
    from smolmon.exporter.bandwidth.now import one_end  # noqa: PLC0415

    cluster = load_cluster(cluster_file)
    try:
        click.echo(one_end(cluster, node, source, target, force=force))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@bandwidth.command(hidden=True)
@cluster_option
@click.option("--node", required=True)
def training(cluster_file: str, node: str) -> None:
    """Whether anybody trains: what `smolmon bandwidth run` asks on the training server's node."""
    from smolmon.exporter.bandwidth import now  # noqa: PLC0415

    cluster = load_cluster(cluster_file)
    try:
        click.echo(now.training(cluster, node))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
