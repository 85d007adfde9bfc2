import os

import pytest
from hypothesis import HealthCheck, settings

from meshlab.core import registry
from meshlab.kube import client

# A busy machine is slow, which is no fault of what is tested; times belong to benchmarks.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


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
