"""The base root is made once, from the machine's own apt configuration, and never half."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from meshlab.clusters.local import rootfs
from meshlab.clusters.local.oci import Layer
from meshlab.core.errors import BuildError, ProcessError
from meshlab.core.progress import Update
from tests.fakes.mmdebstrap import FakeMmdebstrap


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    """An apt configuration with two source files and one that apt would not read."""
    parts = tmp_path / "apt/sources.list.d"
    parts.mkdir(parents=True)
    (parts / "debian.sources").write_text("Types: deb\n")
    (parts / "extra.list").write_text("deb ...\n")
    (parts / "off.sources.disabled").write_text("Types: deb\n")
    (tmp_path / "apt/sources.list").write_text("\n")
    return tmp_path / "apt"


def make(runner: FakeMmdebstrap, cache: Path, apt: Path, seen: list[Update] | None = None) -> Layer:
    updates = seen if seen is not None else []
    return rootfs.ensure(cache_dir=cache, runner=runner, apt_config=apt, progress=updates.append)


def members(base: Layer) -> dict[str, tarfile.TarInfo]:
    assert base.archive is not None
    with tarfile.open(base.archive) as tar:
        return {member.name: member for member in tar}


def test_it_is_made_once(tmp_path: Path, apt: Path) -> None:
    runner, seen = FakeMmdebstrap(), list[Update]()
    first = make(runner, tmp_path / "cache", apt, seen)
    assert [update.done for update in seen] == [0, 1, 2, 3]
    count = len(runner.commands)
    assert make(runner, tmp_path / "cache", apt) == first
    assert len(runner.commands) == count
    assert first.archive is not None
    assert sorted(file.name for file in first.archive.parent.iterdir()) == ["layer.json", "layer.tar"]


def test_the_machines_own_apt_settings_are_used(tmp_path: Path, apt: Path) -> None:
    settings = 'APT "";\nAcquire::http::Proxy "http://proxy.test:3128";\nAcquire::cdrom "";\n'
    runner = FakeMmdebstrap(apt=settings)
    make(runner, tmp_path / "cache", apt)
    command = runner.commands[-1]
    assert '--aptopt=Acquire::http::Proxy "http://proxy.test:3128";' in command
    assert not any("cdrom" in word for word in command)
    sources = [Path(word).name for word in command if "sources.list.d" in word]
    assert sources == ["extra.list", "debian.sources"]
    assert "--pdeathsig" in command


def test_what_no_container_needs_is_gone_and_what_configuring_makes_is_there(
    tmp_path: Path, apt: Path
) -> None:
    base = make(FakeMmdebstrap(), tmp_path / "cache", apt)
    found = members(base)
    for gone in (
        "usr/share/doc",
        "usr/share/locale",
        "etc/apt",
        "etc/resolv.conf",
        "var/lib/dpkg",
        "tmp/left",
    ):
        assert gone not in found
    assert found["tmp"].mode == 0o1777
    assert found["usr/sbin/iptables"].linkname == "iptables-legacy"
    assert found["usr/sbin/ip6tables-restore"].linkname == "ip6tables-legacy-restore"
    assert found["var/run"].linkname == "/run"
    assert found["usr/lib/ssl/cert.pem"].linkname == "/etc/ssl/certs/ca-certificates.crt"
    assert base.archive is not None
    with tarfile.open(base.archive) as tar:
        bundle = tar.extractfile("etc/ssl/certs/ca-certificates.crt")
        users = tar.extractfile("etc/passwd")
        assert bundle is not None and bundle.read() == b"-----A-----\n-----B-----\n"
        assert users is not None and b"istio-proxy:x:1337:1337:" in users.read()


def test_a_failed_build_leaves_nothing_and_the_next_one_works(tmp_path: Path, apt: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(ProcessError, match="no network") as caught:
        make(FakeMmdebstrap(fail="no network"), cache, apt)
    assert "apt-get update" in caught.value.remedy
    assert [left.suffix for left in (cache / "rootfs").iterdir()] == [".lock"]
    assert make(FakeMmdebstrap(), cache, apt).size > 0


def test_what_a_killed_build_left_is_removed(tmp_path: Path, apt: Path) -> None:
    half = tmp_path / "cache/rootfs" / f"{rootfs.key()}-abc" / "root"
    half.mkdir(parents=True)
    make(FakeMmdebstrap(), tmp_path / "cache", apt)
    assert not half.parent.exists()


def test_without_apt_sources_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no apt sources"):
        make(FakeMmdebstrap(), tmp_path / "cache", tmp_path)


def test_the_key_follows_what_is_asked_for() -> None:
    assert rootfs.key() == rootfs.key()
    assert len({rootfs.key(), rootfs.key(packages=("curl",)), rootfs.key(suite="trixie")}) == 3
