import os

import pytest


@pytest.fixture(autouse=True)
def no_settings_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """What whoever runs the tests has set for the lab does not reach them."""
    for name in list(os.environ):
        if name.upper().startswith("MESHLAB_"):
            monkeypatch.delenv(name)
