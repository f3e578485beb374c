"""The examples in the docstrings run and give what they show."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["trajectory", "analysis", "conductivity"])
def test_docstring_examples(name):
    module = importlib.import_module(f"ionsieve.md_analysis.{name}")
    done = doctest.testmod(module)
    assert done.attempted
    assert done.failed == 0
