"""``ionsieve init``: a commented screening.yaml and example mothers to start from."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="init")
@click.argument("name", type=click.Path(path_type=Path), default="screening")
def command(name: Path) -> None:
    """Write a folder NAME with a commented screening.yaml and example mothers.

    It can be run as it is, with the mocked VASP; nothing existing is overwritten.

    \b
    Example:
      ionsieve init my_screening
    """
    from ionsieve.workflows.settings.template import write_example

    config, *mothers = write_example(name)
    click.echo(f"Wrote {config} and {len(mothers)} files in {name / 'mothers'}.")
    click.echo("Now type:")
    click.echo(f"  ionsieve plan {config}   counts what it will do")
    click.echo(f"  ionsieve run {config}    runs it on this machine")
