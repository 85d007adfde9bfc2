from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshlab.app.once import RoundResult, n_requests
from meshlab.core.errors import ExecError
from tests.fakes.kube import FakeExecStream, FakeKube, exit_status
from tests.unit.app.shell import Shell

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
    return n_requests(ShellKube(shell), "default", "sleep-1", URL, n, **options)  # type: ignore[arg-type]


def test_n_of_n_with_the_title(tmp_path: Path) -> None:
    shell = Shell(tmp_path, answer=f"<html>\n{PAGE}\n</html>\n200 0.012")
    result = _round(shell, 5, expect=PAGE, headers={"end-user": "jason"}, options=("-k",))
    assert (result.sent, result.by_status, result.matched, result.passed) == (5, {"200": 5}, 5, 5)
    assert result.exit_codes == {}
    assert result.times is not None
    assert result.times.p50 == 12.0
    assert (
        shell.requests()
        == [f"-sS --max-time 15 -w \\n%{{http_code}} %{{time_total}} -H end-user: jason -k {URL}"] * 5
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
        n_requests(kube, "default", "sleep-1", URL, 2)  # type: ignore[arg-type]
