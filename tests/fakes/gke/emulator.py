"""The emulated cloud as a whole: gRPC on a port, REST on another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from meshlab.config.settings import GkeSettings
from tests.fakes.gke import container, rest
from tests.fakes.gke.books import Books


@dataclass(frozen=True)
class Emulator:
    """A running emulator: its books and its two addresses."""

    books: Books
    api: str
    compute: str

    def settings(self, **changes: object) -> GkeSettings:
        """Settings of a client that talks to it; quick."""
        quick = {"project": "p", "poll_seconds": 0.01, "create_timeout": 60.0, "retry_seconds": 60.0}
        places = {"api_endpoint": self.api, "compute_endpoint": self.compute}
        return GkeSettings.model_validate({**quick, **places, **changes})


@contextmanager
def running(books: Books | None = None, *, port: int = 0, rest_port: int = 0) -> Iterator[Emulator]:
    """An emulator on the loopback while the block runs. port 0: any that is free."""
    account = books or Books()
    account.load()
    with container.serving(account, port) as bound, rest.serving(account, rest_port) as bound_rest:
        yield Emulator(account, f"127.0.0.1:{bound}", f"127.0.0.1:{bound_rest}")
