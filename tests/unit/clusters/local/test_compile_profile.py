"""A compile's own record tells where its processor time went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshlab.clusters.local import compile_profile
from meshlab.clusters.local.compile_profile import Profile, Work
from meshlab.core.errors import MeshlabError


def _action(mode: str, package: str, begin: int, end: int, **more: Any) -> dict[str, Any]:
    times = {
        f"Time{name}": f"2026-11-28T10:00:{second:02}.123456789Z"
        for name, second in (("Start", begin), ("Done", end))
    }
    return {"Mode": mode, "Package": package, **times, **more}


ACTIONS = [
    _action(
        "link",
        "example.org/tool/cmd/x",
        8,
        12,
        CmdReal=4_000_000_000,
        CmdUser=5_000_000_000,
        CmdSys=500_000_000,
    ),
    _action("build", "example.org/tool/heavy", 1, 7, CmdReal=6_000_000_000, CmdUser=9_000_000_000),
    _action("build", "strings", 0, 1, CmdReal=1_000_000_000, CmdUser=900_000_000, CmdSys=100_000_000),
    _action("build", "example.org/kept", 0, 0),  # in the cache: nothing ran
    _action("build check cache", "strings", 0, 0),
]


def _profile(stage: str = "jaeger") -> Profile:
    return Profile(stage, 3.0, 12.0, 2, "400", compile_profile.works(ACTIONS))


def test_only_what_ran_is_counted() -> None:
    assert compile_profile.works(ACTIONS) == (
        Work("package", "strings", 1.0, 0.0, 1.0),
        Work("package", "example.org/tool/heavy", 9.0, 1.0, 7.0),
        Work("link", "example.org/tool/cmd/x", 5.5, 8.0, 12.0),
    )
    one = _profile()
    assert (one.cpu("package"), one.cpu("link"), one.idle) == (10.0, 5.5, 24 - 15.5)


def test_a_profile_is_read_as_it_was_kept(tmp_path: Path) -> None:
    compile_profile.keep(_profile(), tmp_path / "compile-jaeger.profile.json")
    assert compile_profile.kept(tmp_path) == [_profile()]


def test_the_table_names_the_modules_and_the_links_with_their_shares() -> None:
    rows = [line.split() for line in compile_profile.table([_profile()]).splitlines()]
    assert ["jaeger", "12", "3", "2", "10", "1", "6", "8", "400"] in rows
    assert ["9.0", "s", "58.1", "%", "example.org/tool/heavy"] in rows
    assert ["5.5", "s", "35.5", "%", "example.org/tool/cmd/x"] in rows
    assert ["1.0", "s", "6.5", "%", "Go's", "standard", "library"] in rows


@pytest.mark.parametrize("content", [None, "{", '{"stage": "jaeger"}', "[]"])
def test_what_is_no_profile_is_told_with_a_remedy(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "compile-jaeger.profile.json").write_text(content)
    with pytest.raises(MeshlabError) as caught:
        compile_profile.kept(tmp_path)
    assert caught.value.remedy
