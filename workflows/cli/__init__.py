"""The ``ionsieve`` command; each subcommand is one module, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import NoReturn

import click

import ionsieve
from ionsieve.errors import InputError, IonSieveError, full_disk, one_line
from ionsieve.extras import explain_missing
from ionsieve.workflows.cli.log import show_log

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
    "reanalyse": "reanalyse",
}

_DEBUG_VARIABLE = "IONSIEVE_DEBUG"
#: As shells count it: 128 and the number of the signal that Ctrl-C sends.
_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that imports a subcommand's module on use, so that every command starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands in the order of the funnel."""
        # Not list(): in this package that is the module of a command.
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"ionsieve.workflows.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand; an error's traceback is shown with --debug only."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception:
            if ctx.params["debug"]:
                traceback.print_exc()
            raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ionsieve.__version__, prog_name="ionsieve")
@click.option("-v", "--verbose", count=True, help="Say more; -vv still more.")
@click.option("-q", "--quiet", is_flag=True, help="No warnings.")
@click.option(
    "--debug",
    is_flag=True,
    envvar=_DEBUG_VARIABLE,
    help=f"Show the traceback of an error; also by {_DEBUG_VARIABLE}=1.",
)
def cli(verbose: int, quiet: bool, debug: bool) -> None:
    """Find new solid electrolytes: mother crystals in, ranked conductors out.

    Start with: ionsieve init my_screening

    \b
    Exit codes: 0 done, 1 something failed, 2 bad input (nothing was started).
    """
    show_log(verbose, quiet)


def main() -> None:
    """Run the command line; every error becomes one line on stderr and exit code 1 or 2."""
    try:
        result = cli.main(prog_name="ionsieve", standalone_mode=False)
        # What is still buffered may find the pipe closed; later nobody could catch it.
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        name = error.ctx.command_path if error.ctx else "ionsieve"
        _fail(f"{error.format_message()} (see: {name} --help)", error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), InputError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python would complain when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(IonSieveError.exit_code)
    except IonSieveError as error:
        _fail(str(full_disk(error) or error), error.exit_code)
    except Exception as error:
        _fail(*_unexpected(error))
    sys.exit(result if isinstance(result, int) else 0)


def _unexpected(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code of an error that nothing has foreseen."""
    if isinstance(error, ModuleNotFoundError) and (remedy := explain_missing(error)):
        return remedy, InputError.exit_code
    more = f"'ionsieve --debug ...' or {_DEBUG_VARIABLE}=1 shows the traceback"
    if full := full_disk(error):
        return str(full), full.exit_code
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; {more}", IonSieveError.exit_code
    return f"{type(error).__name__}: {error}; {more}", IonSieveError.exit_code


def _fail(text: str, exit_code: int) -> NoReturn:
    click.echo(f"error: {one_line(text)}", err=True)
    sys.exit(exit_code)
