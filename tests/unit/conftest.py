import gc
import os

import pytest
from hypothesis import HealthCheck, settings

from meshlab.core import registry
from meshlab.kube import client

# A busy machine is slow, which is no fault of what is tested; times belong to benchmarks.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# What is imported stays until the end. Python would look through all of it for garbage again and again: while it is
# imported, and then whenever some tests have left a little.
gc.disable()
# New objects, and collections of each generation, until garbage is looked for; Python's own are 700, 10, 10.
OFTEN = (20_000, 10, 10)


def pytest_collection_finish() -> None:
    """From here on look for garbage among what the tests leave only."""
    gc.freeze()
    gc.set_threshold(*OFTEN)
    gc.enable()


@pytest.fixture(autouse=True)
def no_settings_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """What whoever runs the tests has set for the lab does not reach them."""
    for name in list(os.environ):
        if name.upper().startswith("MESHLAB_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_run_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test's runs hold in this process ends with the test."""
    monkeypatch.setattr(registry, "_instances", {})


@pytest.fixture(autouse=True)
def no_pause_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of the Kubernetes API that finds no connection is made again at once."""
    monkeypatch.setattr(client, "BACKOFF", 0.0)
