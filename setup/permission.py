"""The sudoers file for one node: what setup does there, for an account that may do nothing else."""

from __future__ import annotations

from smolmon.cluster import Cluster, Node
from smolmon.setup.shell import lines
from smolmon.setup.ssh import Runner
from smolmon.setup.survey import gather
from smolmon.setup.system import system_of


class SudoersError(Exception):
    """There is no such file for this node, or its sudo would not read it. One line."""


async def drop_in(cluster: Cluster, node: Node, runner: Runner) -> str:
    """The file's text, checked by the node's own visudo(8) where there is one.

    Raises SudoersError, SshError, FactsError and UnsupportedError.
    """
    state = await gather(system_of(cluster, node), runner)
    try:
        text = state.sudoers()
    except KeyError as error:
        raise SudoersError(
            f"{node.name}: there is no {error.args[0]} on it, which setup needs; install it first"
        ) from error
    # As standard input, and no line of it can be the mark that ends it: each has a word before.
    checked = await runner.run(
        lines(
            [
                "command -v visudo >/dev/null || exit 0",
                f"visudo -cf - <<'@@end'\n{text}@@end",
            ]
        )
    )
    if checked.status != 0:
        said = (checked.err or checked.out).strip().splitlines()
        raise SudoersError(
            f"{node.name}: its visudo finds fault with what setup would allow: "
            f"{said[0] if said else checked.status}; please report this"
        )
    return text
