"""`python -m smolmon`, and the `smolmon` program."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from smolmon.cli import cli  # noqa: PLC0415 - kept out of import time

    cli(prog_name="smolmon")


if __name__ == "__main__":
    main()
