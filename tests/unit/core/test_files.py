from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.core.files import write_atomically


def test_the_file_has_content_and_mode(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "key", b"secret", mode=0o600)
    assert (tmp_path / "a" / "key").read_bytes() == b"secret"
    assert (tmp_path / "a" / "key").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(target, "\udcff")
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, "x")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}.*"))
