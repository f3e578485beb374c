"""Completion with the tab key, as the docs tell how to switch it on."""

import os
import subprocess
import sys

import pytest


def _ask(**variables):
    code = "from ionsieve.workflows.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | variables
    ).stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_shell_is_told_how(shell):
    script = _ask(_IONSIEVE_COMPLETE=f"{shell}_source")
    assert f"_IONSIEVE_COMPLETE={shell}_complete" in script


def test_commands_are_completed():
    words = {"COMP_WORDS": "ionsieve hpc", "COMP_CWORD": "1"}
    shown = _ask(_IONSIEVE_COMPLETE="bash_complete", **words)
    assert shown.split() == ["plain,hpc-init", "plain,hpc-check"]
