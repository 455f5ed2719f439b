"""The `smolmon` command: a table of sub-commands, each imported when it is called."""

from __future__ import annotations

from importlib import import_module

import click

from smolmon import __version__

# name: (module, attribute, one line of help). The help stands here so that `smolmon --help` need
# not import what it lists; a test holds it to each command's own.
COMMANDS = {
    "init": ("smolmon.commands.init", "init", "Write a first cluster file."),
    "check": ("smolmon.commands.check", "check", "Validate the cluster file."),
    "setup": ("smolmon.commands.setup", "setup", "Provision the network and the exporters."),
    "verify": ("smolmon.commands.verify", "verify", "Compare expected with seen, from every node."),
    "exporter": ("smolmon.commands.exporter", "exporter", "Run this node's exporter."),
    "render": ("smolmon.commands.render", "render", "Write the monitor's configuration."),
    "status": ("smolmon.commands.status", "status", "Show live what the cluster does."),
    "notify": ("smolmon.commands.notify", "notify", "Try the receivers of notifications."),
    "up": ("smolmon.commands.up", "up", "Start the monitor in containers."),
    "down": ("smolmon.commands.up", "down", "Stop the monitor's containers."),
    "bandwidth": ("smolmon.commands.bandwidth", "bandwidth", "Measure what the links carry."),
    "doctor": (
        "smolmon.commands.doctor",
        "doctor",
        "Name the active causes, and the repair.",
    ),
    "lab": ("smolmon.commands.lab", "lab", "The emulated cluster."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on demand (click's documentation, "Lazily Loading")."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smolmon")
def cli() -> None:
    """Provision, watch and diagnose the network of a small training cluster.

    Everything follows from one cluster file: see `smolmon check`.
    """
