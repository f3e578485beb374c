"""The ``ionsieve`` command; each subcommand is one module, imported only when it is called."""

from __future__ import annotations

import importlib
import sys

import click

import ionsieve
from ionsieve.errors import IonSieveError

#: Subcommand name -> module under ``ionsieve.workflows.cli`` with a click command ``command``.
COMMANDS = {
    "init": "init",
    "plan": "plan",
    "rank": "rank",
    "run": "run",
    "submit": "submit",
    "hpc-init": "hpc_init",
    "hpc-check": "hpc_check",
    "status": "status",
    "diffusion": "diffusion",
    "query": "query",
    "report": "report",
    "list": "list",
    "clean": "clean",
}


class LazyGroup(click.Group):
    """A group that imports a subcommand's module on use, so that every command starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands in the order of the funnel."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"ionsieve.workflows.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ionsieve.__version__, prog_name="ionsieve")
def cli() -> None:
    """Find new solid electrolytes: mother crystals in, ranked conductors out.

    Start with: ionsieve init my_screening
    """


def main() -> None:
    """Run the command line; user errors become one line on stderr and exit code 1 or 2."""
    try:
        cli(prog_name="ionsieve")
    except IonSieveError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
