from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meshlab.clusters.local import inotify
from meshlab.clusters.local.state import Record, State
from tests.unit.clusters.local.cluster_fixtures import layout_in


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel's file, with the usual limit."""
    path = tmp_path / "max_user_instances"
    path.write_text("128\n")
    monkeypatch.setattr(inotify, "LIMIT", path)
    return path


def cluster(tmp_path: Path, name: str) -> State:
    """A cluster that was written down, among others in one state folder."""
    layout = layout_in(tmp_path)
    state = State(replace(layout, name=name, root=layout.root.with_name(name)))
    state.layout.root.mkdir(parents=True, exist_ok=True)
    state.write(Record("k", 3, "10.250", (), name, name))
    return state


def gone(state: State) -> None:
    record = state.record()
    assert record is not None
    inotify.put_back(record, state.neighbours())
    (state.layout.root / "record.json").unlink()


def test_too_few_instances_are_told_before_kubelet_fails(tmp_path: Path, limit: Path) -> None:
    limit.write_text("10\n")
    (found,) = inotify.problems(layout_in(tmp_path), None)
    assert (found.where, found.remedy) == (inotify.SYSCTL, "--set local.inotify_instances=512")
    assert not list(inotify.problems(layout_in(tmp_path), 100_000))


def test_a_limit_that_cannot_be_raised_is_told(
    tmp_path: Path, limit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inotify.os, "access", lambda *_: False)
    (found,) = inotify.problems(layout_in(tmp_path), 100_000)
    assert found.where == "local.inotify_instances"


@pytest.mark.parametrize("wanted", [None, 100])
def test_nobody_asks_for_more_and_the_limit_stays(wanted: int | None, tmp_path: Path, limit: Path) -> None:
    state = cluster(tmp_path, "one")
    inotify.give(state, wanted)
    assert limit.read_text() == "128\n"
    assert (record := state.record()) is not None and record.inotify_before is None


def test_it_is_raised_for_a_cluster_and_put_back_with_it(tmp_path: Path, limit: Path) -> None:
    state = cluster(tmp_path, "one")
    inotify.give(state, 512)
    inotify.give(state, 1024)  # the running cluster is asked for again, with more
    assert limit.read_text() == "1024"
    gone(state)
    assert limit.read_text() == "128"


def test_what_it_was_is_written_down_before_it_is_raised(
    tmp_path: Path, limit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = cluster(tmp_path, "one")
    monkeypatch.setattr(Path, "write_text", lambda *_: pytest.fail("killed here"))
    with pytest.raises(pytest.fail.Exception):
        inotify.give(state, 512)
    assert (record := state.record()) is not None and record.inotify_before == 128


def test_a_limit_that_somebody_else_has_changed_stays(tmp_path: Path, limit: Path) -> None:
    state = cluster(tmp_path, "one")
    inotify.give(state, 512)
    limit.write_text("4096")
    gone(state)
    assert limit.read_text() == "4096"


@pytest.mark.parametrize("asked", [(512, 1024), (1024, 512), (512, 512)])
@pytest.mark.parametrize("first", [0, 1])
def test_the_last_of_two_clusters_puts_it_back(
    asked: tuple[int, int], first: int, tmp_path: Path, limit: Path
) -> None:
    states = [cluster(tmp_path, name) for name in ("one", "two")]
    for state, wanted in zip(states, asked, strict=True):
        inotify.give(state, wanted)
    gone(states[first])
    assert int(limit.read_text()) >= asked[1 - first], "what stays has what it asked for"
    gone(states[1 - first])
    assert limit.read_text() == "128"
