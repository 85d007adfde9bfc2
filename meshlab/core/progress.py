"""How long work tells what it is doing, without knowing who looks (terminal, log or Prefect artifact)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Update:
    """One report: what is worked on, units done of how many in total (0: not known), and a short detail."""

    what: str
    done: int = 0
    total: int = 0
    detail: str = ""

    @property
    def percent(self) -> float | None:
        """0–100, or None where the total is not known."""
        return None if self.total <= 0 else min(100.0, 100.0 * self.done / self.total)


class Progress(Protocol):
    """A listener. Called from any thread; must return quickly and never raise."""

    def __call__(self, update: Update, /) -> None:
        """Take an update."""


def silent(update: Update) -> None:
    """The listener that ignores everything: the default of every `progress` parameter."""
