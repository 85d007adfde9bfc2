"""What lives as long as a run does in one process, in the one place that holds such things.

Steps of a run are called with small frozen values, in threads of one process. What can't be frozen (a loop that sends
requests, an open connection, lines that a full disk refused) is made once per run and class, and asked for by the run's id.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")
PROCESS = ""  # stands in the place of a run's id for what belongs to the process itself

_instances: dict[tuple[str, type], Any] = {}
_lock = threading.RLock()


def instance(kind: type[T], run_id: str = PROCESS, make: Callable[[], T] | None = None) -> T:
    """Return the run's one instance of a class; the first caller has it made.

    Args:
        kind: The class.
        run_id: The run that it belongs to; the process itself where none is given.
        make: Makes it; the class itself, without arguments, where none is given.

    Returns:
        The same object at each call.
    """
    with _lock:
        if (run_id, kind) not in _instances:
            _instances[run_id, kind] = make() if make is not None else kind()
        return cast(T, _instances[run_id, kind])


def find(kind: type[T], run_id: str = PROCESS) -> T | None:
    """Find the run's instance of a class.

    Args:
        kind: The class.
        run_id: The run; the process itself where not given.

    Returns:
        It; None where there is none yet.
    """
    with _lock:
        return cast("T | None", _instances.get((run_id, kind)))


def put(value: object, run_id: str = PROCESS) -> None:
    """Hold a value as the run's instance of its class, in place of an earlier one.

    Args:
        value: The instance.
        run_id: The run; the process itself where not given.
    """
    with _lock:
        _instances[run_id, type(value)] = value


def take(kind: type[T], run_id: str = PROCESS) -> T | None:
    """Give the run's instance of a class away: it is held no longer.

    Args:
        kind: The class.
        run_id: The run; the process itself where not given.

    Returns:
        It; None where there is none.
    """
    with _lock:
        return cast("T | None", _instances.pop((run_id, kind), None))
