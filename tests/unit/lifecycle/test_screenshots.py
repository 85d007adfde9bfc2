"""Screenshots of a kept lab: one a page where there is a Chromium, and a word where a page could not be pictured."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.core.errors import ProcessError
from meshlab.core.process import Completed
from meshlab.lifecycle.screenshots import take
from tests.fakes.programs import Call, FakePrograms

PAGES = {"start page": "http://127.0.0.1:1/", "Prometheus": "http://127.0.0.1:2/"}


class FakeChromium(FakePrograms):
    """Writes what it is asked to. fails: addresses on which it ends badly; blind: on which it writes nothing."""

    def __init__(self, fails: str = "", blind: str = "") -> None:
        super().__init__()
        self.fails, self.blind = fails, blind

    def answer(self, call: Call) -> Completed:
        self.commands.append(call.words)
        flags = dict(word.partition("=")[::2] for word in call.words[1:-1])
        assert "--headless" in flags and Path(flags["--user-data-dir"]).is_dir()
        Path(flags["--screenshot"]).write_bytes(b"half")
        if call.words[-1] == self.fails:
            raise ProcessError("chromium ran past its deadline")
        if call.words[-1] == self.blind:
            Path(flags["--screenshot"]).unlink()
        return Completed(call.words, 0, "", "", 0.1)


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "chromium").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "chromium").chmod(0o755)
    return str(tmp_path / "bin")


def test_each_page_has_a_picture_in_the_runs_directory(tmp_path: Path, path: str) -> None:
    taken = take(PAGES, tmp_path / "run", runner=FakeChromium(), path=path)
    folder = tmp_path / "run" / "screenshots"
    assert taken.files == (folder / "start-page.png", folder / "prometheus.png") and taken.problems == ()
    assert sorted(folder.iterdir()) == sorted(taken.files)


def test_a_page_that_can_not_be_pictured_costs_its_own_picture_only(tmp_path: Path, path: str) -> None:
    taken = take(PAGES, tmp_path, runner=FakeChromium(fails=PAGES["start page"]), path=path)
    assert [file.name for file in taken.files] == ["prometheus.png"]
    assert len(taken.problems) == 1 and "past its deadline" in taken.problems[0]
    assert [each.name for each in (tmp_path / "screenshots").iterdir()] == ["prometheus.png"], (
        "no half picture"
    )
    blind = take(PAGES, tmp_path / "other", runner=FakeChromium(blind=PAGES["Prometheus"]), path=path)
    assert len(blind.files) == 1 and "made no picture" in blind.problems[0]


def test_without_a_browser_or_a_page_nothing_is_done(tmp_path: Path, path: str) -> None:
    fake = FakeChromium()
    taken = take(PAGES, tmp_path / "run", runner=fake, path=str(tmp_path))
    assert (taken.files, taken.problems) == ((), ())
    assert take({}, tmp_path / "run", runner=fake, path=path).files == ()
    assert fake.commands == [] and not (tmp_path / "run").exists()


def test_a_disk_that_takes_nothing_is_said(tmp_path: Path, path: str) -> None:
    (tmp_path / "screenshots").write_text("a file stands in the folder's place")
    taken = take(PAGES, tmp_path, runner=FakeChromium(), path=path)
    assert taken.files == () and len(taken.problems) == 2
