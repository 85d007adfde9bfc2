"""A value, or the error that kept it from being had: for work that several checks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from meshlab.core.errors import MeshlabError

T = TypeVar("T")


def attempt(call: Callable[[], T]) -> T | MeshlabError:
    """Return what a call returns, or the MeshlabError that it raises."""
    try:
        return call()
    except MeshlabError as problem:
        return problem


def given(value: T | MeshlabError) -> T:
    """Return the value; raise it where it is an error."""
    if isinstance(value, MeshlabError):
        raise value
    return value
