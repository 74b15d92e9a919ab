"""The examples in docstrings run, and print the results that they show."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["pgface.results", "pgface.settings"])
def test_the_examples_of_a_module_run(module: str) -> None:
    failed, tried = doctest.testmod(import_module(module))
    assert tried > 0
    assert failed == 0
