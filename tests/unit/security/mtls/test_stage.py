"""A window that is void is repeated, and a cluster that forbids captures still has its counters compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.security.mtls import stage
from meshlab.security.mtls.capture import CapturePlace
from tests.fakes.kube import FakeKube
from tests.unit.security.mtls import fixtures as made

PLACES = {
    "details-v1-0": CapturePlace("default", "details-v1-0", "c"),
    "productpage-v1-0": CapturePlace("default", "p", "c"),
}
FORBIDDEN = KubeError("PodSecurity says no", status=403)


def windows(
    monkeypatch: pytest.MonkeyPatch, prepared: dict[str, Any], *outcomes: Any
) -> tuple[Any, list[dict]]:
    """`_windows` with the given outcomes of its windows; also the places that each was made with."""
    left, used = list(outcomes), []

    def window(kube: Any, config: Any, edges: Any, places: Any, interfaces: Any) -> stage.Window:
        used.append(dict(places))
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(stage, "_window", window)
    monkeypatch.setattr(stage, "wait_drained", lambda *_, **__: None)
    edges = made.edges()
    return stage._windows(FakeKube(), None, LabConfig(), edges, prepared, ("eth0", "lo")), used


def fallen() -> stage.Window:
    window = made.window()
    return replace(window, counted=(replace(window.counted[0], falls=("x fell",)), window.counted[1]))


def test_a_counter_that_fell_voids_the_window_which_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    found, used = windows(monkeypatch, PLACES, fallen(), made.window())
    assert len(used) == 2 and used[0] == PLACES
    assert not any(each.falls for each in found.counted) and found.no_capture is None


def test_counters_that_fall_each_time_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found, used = windows(monkeypatch, PLACES, *[fallen()] * stage.WINDOWS)
    assert len(used) == stage.WINDOWS and any(each.falls for each in found.counted)


def test_a_forbidden_container_leaves_the_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    found, used = windows(monkeypatch, {**PLACES, "productpage-v1-0": FORBIDDEN}, made.window())
    assert used == [{}] and found.no_capture is FORBIDDEN


def test_forbidden_raw_sockets_leave_the_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    found, used = windows(monkeypatch, PLACES, FORBIDDEN, made.window())
    assert used == [PLACES, {}] and found.no_capture is FORBIDDEN


def test_a_container_that_does_not_start_leaves_the_counters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = KubeError("no such image")
    found, used = windows(monkeypatch, {**PLACES, "productpage-v1-0": problem}, made.window())
    assert used == [{}] and found.no_capture is problem


def test_any_other_failure_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KubeError, match="gone"):
        windows(monkeypatch, PLACES, KubeError("gone", status=404))
