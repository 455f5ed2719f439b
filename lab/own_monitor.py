"""The cluster file as the lab has it: whatever monitor it names, in there it is the lab's own."""

from __future__ import annotations

import yaml
from attrs import evolve

from smolmon.cluster.edit import EditError, edited, replaced, value_of
from smolmon.cluster.load import ClusterError, parse
from smolmon.cluster.monitor import DEFAULT_ALERTMANAGER, DEFAULT_PROMETHEUS

# Of the section `monitor`, as YAML; one that is an agent would tell nobody of anything.
OWN = {
    "prometheus": f"'{DEFAULT_PROMETHEUS}'",
    "alertmanager": f"'{DEFAULT_ALERTMANAGER}'",
    "agent": "false",
}


def with_own_monitor(text: str, file: str) -> str:
    """`text` with the lab's monitor, and everything else as it is.

    Raises EditError, and ClusterError where `text` is no cluster file.
    """
    before = parse(text, file)
    own = evolve(before.monitor, **{key: yaml.safe_load(value) for key, value in OWN.items()})
    section = value_of(yaml.compose(text, Loader=yaml.SafeLoader), "monitor")
    found = {key: value_of(section, key) for key in OWN}
    made = edited(text, (replaced(node, OWN[key]) for key, node in found.items() if node))
    try:
        same = parse(made, file) == evolve(before, monitor=own)
    except ClusterError:
        same = False
    if not same:  # an alias, for one: its value stands elsewhere, for others too
        names = ", ".join(f"`{key}`" for key in OWN)
        raise EditError(f"{file}: write the values of {names} under `monitor` where they are used")
    return made
