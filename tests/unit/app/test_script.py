from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.app.curl import Answer, parse_answer
from meshlab.app.script import ECHOED, PAYLOAD, loop_argv, pauses
from tests.unit.app.shell import Shell


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended after the test, whatever it found."""
    children: list[subprocess.Popen[str]] = []
    yield children
    for child in children:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def _argv(run: str = "r1", name: str = "1", **options: Any) -> list[str]:
    given: dict[str, Any] = {"interval": 0.01, "count": None, "request_timeout": 5.0}
    return loop_argv("http://web:80/page?a=1&b=2", run=run, name=name, **{**given, **options})


def _lines(child: subprocess.Popen[str]) -> list[str]:
    assert child.stdout is not None
    return child.stdout.read().splitlines()


def _until(child: subprocess.Popen[str], start: str) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"the script ended without a line {start!r}")


def test_a_count_of_requests(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    shell = Shell(tmp_path)
    started.append(shell.start(_argv(count=3)))
    assert _lines(started[0]) == ["B 0", *(f"R {n} 200 0.25 0" for n in (1, 2, 3)), "E 3"]
    assert started[0].wait(10) == 0
    assert len(shell.requests()) == 3
    assert shell.requests()[0].endswith(" -o /dev/null http://web:80/page?a=1&b=2")


def test_failed_requests_go_on(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    started.append(Shell(tmp_path, answer="000 0.001", code=7).start(_argv(count=2)))
    assert _lines(started[0]) == ["B 0", "R 1 000 0.001 7", "R 2 000 0.001 7", "E 2"]


def test_tcp_echo(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    def lines(answer: str) -> list[str]:
        argv = loop_argv(
            "telnet://tcp-echo:9000", run="r", name="1", interval=0.01, count=1, request_timeout=5
        )
        started.append(Shell(tmp_path, answer=answer, code=28).start(argv))
        return _lines(started[-1])

    assert lines(f"{PAYLOAD}\n0.400") == ["B 0", f"R 1 {ECHOED} 0.400 0", "E 1"]
    assert lines("\n0.400") == ["B 0", "R 1 000 0.400 28", "E 1"]


@pytest.mark.parametrize("how", ["word", "end of input"])
def test_the_request_under_way_is_finished(
    tmp_path: Path, started: list[subprocess.Popen[str]], how: str
) -> None:
    shell = Shell(tmp_path, slow=True)
    child = shell.start(_argv(interval=60))
    started.append(child)
    _until(child, "B ")
    while not shell.requests():
        assert child.poll() is None
    assert child.stdin is not None
    if how == "word":
        child.stdin.write("stop\n")
        child.stdin.flush()
    else:
        child.stdin.close()
    assert _lines(child) == ["R 1 200 0.25 0", "E 1"]
    assert child.wait(10) == 0


def test_pause_is_cut_short_by_the_stop(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    child = Shell(tmp_path).start(_argv(interval=3600))
    started.append(child)
    _until(child, "R 1")
    assert child.stdin is not None
    child.stdin.close()
    assert _lines(child) == ["E 1"]


def test_leftovers_are_ended_and_loops_of_this_run_are_not(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    shell = Shell(tmp_path)
    old = shell.start(_argv(run="old"))
    started.append(old)
    _until(old, "R 1")
    first = shell.start(_argv(run="new", name="1"))
    started.append(first)
    assert first.stdout is not None
    assert int(first.stdout.readline().removeprefix("B ")) >= 1
    assert _lines(old)[-1].startswith("E ")
    second = shell.start(_argv(run="new", name="2", count=1))
    started.append(second)
    assert _lines(second) == ["B 0", "R 1 200 0.25 0", "E 1"]
    assert first.poll() is None


def test_container_without_curl(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    shell = Shell(tmp_path)
    shell.curl.unlink()
    (tmp_path / "sh").symlink_to("/bin/sh")
    shell.environment = {"PATH": str(tmp_path)}
    started.append(shell.start(_argv()))
    assert _lines(started[0]) == ["X there is no curl in this container"]
    assert started[0].wait(10) == 127


def test_pauses() -> None:
    assert pauses(0.3, "seed") == [0.3]
    drawn = pauses((1, 2), "seed")
    assert len(set(drawn)) > 32
    assert all(1 <= pause <= 2 for pause in drawn)
    assert drawn == pauses((1, 2), "seed")


def test_a_pause_is_slept_in_slices() -> None:
    assert _argv(interval=0.3)[4:] == ["2:0.1500"]
    assert _argv(interval=0.0)[4:] == ["0:0.0000"]
    for pause in _argv(interval=(1, 2))[4:]:
        slices, _, seconds = pause.partition(":")
        assert float(seconds) <= 0.25
        assert 1 <= int(slices) * float(seconds) <= 2.001


def test_lines() -> None:
    assert parse_answer("R 7 503 0.012 0") == Answer(7, "503", 0.012, 0)
    for line in ("R 7", "R 7 ", "R 7  127", "R x 200 0.1 0", "E 7", ""):
        assert parse_answer(line) is None
