"""Prefect's tasks without Prefect: called in this thread, no server is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prefect import Task


@dataclass(frozen=True)
class FakeState:
    """How a call ended: what `tasks.teardown.outcome` reads of a state."""

    value: Any = None
    problem: Exception | None = None

    def is_completed(self) -> bool:
        return self.problem is None

    def result(self, raise_on_failure: bool = True) -> Any:
        if self.problem is not None and raise_on_failure:
            raise self.problem
        return self.value if self.problem is None else self.problem


def called_here(task: Task[..., Any]) -> Callable[..., FakeState]:
    """The task's function, called as the task would be with `return_state=True`; anything else is refused."""

    def call(*args: Any, return_state: bool, **kwargs: Any) -> FakeState:
        assert return_state
        try:
            return FakeState(task.fn(*args, **kwargs))
        except Exception as problem:  # noqa: BLE001 - as Prefect does
            return FakeState(problem=problem)

    return call
