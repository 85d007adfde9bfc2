from __future__ import annotations

from pathlib import Path

from meshlab.clusters.local.files import locked, sha256, tail, try_lock


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a" * 100 + "end")
    assert tail(tmp_path / "log", 5) == "aaend"
    assert tail(tmp_path / "none") == ""


def test_a_lock_is_held_by_one_at_a_time_and_made_with_its_folder(tmp_path: Path) -> None:
    lock = tmp_path / "made" / "lock"
    with locked(lock), lock.open("a") as other:
        assert not try_lock(other)
    with lock.open("a") as other:
        assert try_lock(other)


def test_a_checksum(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256(tmp_path / "file").startswith("ba7816bf8f01cfea")
