"""What a module does under watch is noted: its calls of the API, and its memory."""

from __future__ import annotations

import io
import json
import platform
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks.watched import Notes, main, watch_calls, watch_memory
from meshlab.kube.timed import TimedClient


def noted(sink: io.StringIO) -> list[list[Any]]:
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_each_call_is_noted_with_its_path_and_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(TimedClient, "call_api", lambda self, method, url, *_: made.append(url) or "answer")
    sink = io.StringIO()
    watch_calls(Notes(sink))
    client = TimedClient.__new__(TimedClient)
    assert client.call_api("GET", "https://cluster.test/api/v1/pods?limit=1", {}) == "answer"
    assert made == ["https://cluster.test/api/v1/pods?limit=1"]
    [[at, kind, what]] = noted(sink)
    assert (kind, what) == ("call", "GET /api/v1/pods") and at > 0


def test_the_memory_is_looked_at_until_the_end() -> None:
    sink, looks = io.StringIO(), threading.Event()

    class Looks(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if sink.getvalue():
                looks.set()
            return looks.is_set()

    watch_memory(Notes(sink), Looks())
    [[_, kind, held]] = noted(sink)
    assert kind == "memory" and held > 1e6


def test_the_module_runs_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TimedClient, "call_api", TimedClient.call_api)  # put back at the end
    monkeypatch.setattr("sys.argv", ["pytest"])
    with pytest.raises(SystemExit):
        main([str(tmp_path / "notes"), "platform", "terse"])
    assert capsys.readouterr().out.strip() == platform.platform(terse=True)
    assert (tmp_path / "notes").exists()
