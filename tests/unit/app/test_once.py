from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshlab.app.once import RoundResult, ask_each, n_requests
from meshlab.app.source import Source
from meshlab.core.errors import ExecError
from tests.fakes.kube import FakeExecStream, FakeKube, exit_status
from tests.unit.app.shell import Shell

SOURCE = Source("default", "sleep-1", "sleep", "uid")
URL = "http://productpage:9080/productpage"
PAGE = "<title>Simple Bookstore App</title>"


class ShellKube(FakeKube):
    """Runs the command of an exec in a real shell with a fake curl."""

    def __init__(self, shell: Shell) -> None:
        super().__init__()
        self._shell = shell

    def open_exec(self, *where: Any, stdin: bool) -> FakeExecStream:
        child = self._shell.start(where[3])
        out, err = child.communicate(timeout=30)
        frames = [(1, out.encode()), (2, err.encode())]
        return FakeExecStream(
            frames, exit_status(child.returncode) if child.returncode else {"status": "Success"}
        )


def _round(shell: Shell, n: int, **options: Any) -> RoundResult:
    return n_requests(ShellKube(shell), SOURCE, URL, n, **options)  # type: ignore[arg-type]


def test_n_of_n_with_the_title(tmp_path: Path) -> None:
    shell = Shell(tmp_path, answer=f"<html>\n{PAGE}\n</html>\n200 0.012")
    result = _round(shell, 5, expect=PAGE, options=("-k", "-H", "end-user: it's jason"))
    assert (result.sent, result.by_status, result.matched, result.passed) == (5, {"200": 5}, 5, 5)
    assert result.exit_codes == {}
    assert result.times is not None
    assert result.times.p50 == 12.0
    assert (
        shell.requests()
        == [f"-sS --max-time 15 -w \\n%{{http_code}} %{{time_total}} -k -H end-user: it's jason {URL}"] * 5
    )


def test_wrong_page_is_shown(tmp_path: Path) -> None:
    result = _round(Shell(tmp_path, answer="Sorry, *no* reviews\n200 0.012"), 2, expect=PAGE)
    assert (result.by_status, result.matched, result.passed) == ({"200": 2}, 0, 0)
    assert "Sorry, *no* reviews" in result.odd


def test_title_on_an_error_page_does_not_pass(tmp_path: Path) -> None:
    result = _round(Shell(tmp_path, answer=f"{PAGE}\n500 0.012"), 1, expect=PAGE)
    assert (result.matched, result.passed) == (1, 0)


def test_no_answer(tmp_path: Path) -> None:
    result = _round(Shell(tmp_path, answer="\n000 0.001", code=7), 3)
    assert (result.by_status, result.passed, result.exit_codes) == ({"000": 3}, 0, {7: 3})


def test_lines_that_do_not_add_up() -> None:
    kube = FakeKube()
    kube.streams = [FakeExecStream([(1, b"R 1 200 0.1 0 1\n")])]
    with pytest.raises(ExecError, match="1 of 2 requests"):
        n_requests(kube, SOURCE, URL, 2)  # type: ignore[arg-type]


def test_several_urls_in_one_exec(tmp_path: Path) -> None:
    shell = Shell(tmp_path, answer="\n200 0.001")
    found = ask_each(ShellKube(shell), SOURCE, ["http://a", "http://b"], 2)  # type: ignore[arg-type]
    assert [(each.url, each.sent, each.served) for each in found] == [("http://a", 2, 2), ("http://b", 2, 2)]
    assert [line.rpartition(" ")[2] for line in shell.requests()] == ["http://a"] * 2 + ["http://b"] * 2


def test_a_refusal_is_a_connection_that_was_taken_and_dropped(tmp_path: Path) -> None:
    found = _round(Shell(tmp_path, answer="\n000 0.001", code=56), 3)
    assert (found.refused, found.served, str(found)) == (3, 0, "3 × reset")
    assert _round(Shell(tmp_path, answer="\n000 0.001", code=28), 3).refused == 0
    cut = _round(Shell(tmp_path, answer="half\n200 0.001", code=56), 3)  # answered, and cut afterwards
    assert (cut.refused, cut.served) == (0, 3)
