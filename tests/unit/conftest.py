import os

import pytest

from meshlab.core import registry


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
