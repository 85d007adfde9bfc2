"""Images from registries: asked together, kept by digest, and each way to fail leaves a clear word and nothing else."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from meshlab.clusters.local import pull
from meshlab.clusters.local.pull import ANSWER_WITHIN, Puller
from meshlab.config.settings import LabConfig, LocalSettings, Machine
from meshlab.core.progress import Update
from tests.fakes.skopeo import FakeSkopeo
from tests.unit.clusters.local.cluster_fixtures import machine_in

GRAFANA, KIALI = "one.test/grafana/grafana:12.0.1", "two.test:5000/kiali/kiali:v2"
CPU = pull.PLATFORMS[platform.machine()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that has skopeo."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "skopeo"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return machine_in(tmp_path).model_copy(update={"path": str(tmp_path / "bin")})


def skopeo() -> FakeSkopeo:
    return FakeSkopeo({GRAFANA: CPU, KIALI: CPU})


def run(machine: Machine, fake: FakeSkopeo, *references: str, **mirrors: str) -> pull.Pulled:
    puller = Puller(machine, fake, mirrors)
    return puller.pull(references or (GRAFANA, KIALI), progress=lambda update: None)


def kept(machine: Machine) -> list[str]:
    folder = machine.cache / "images"
    return sorted(each.name for each in folder.iterdir() if each.suffix != ".lock") if folder.exists() else []


def test_images_are_pulled_once_and_kept_by_digest(machine: Machine) -> None:
    fake = skopeo()
    first = run(machine, fake)
    assert [each.images for each in first.archives] == [(GRAFANA,), (KIALI,)] and not first.refused
    assert first.fresh == sum(each.path.stat().st_size for each in first.archives)
    assert {name.partition("-")[0] for name in kept(machine)} == {"ab" * 32}
    again = run(machine, fake)
    assert [each.path for each in again.archives] == [each.path for each in first.archives]
    assert (again.fresh, fake.did("copy"), fake.did("inspect")) == (0, 2, 4)
    assert GRAFANA in first.in_one_line() and "\n" not in first.in_one_line()


def test_registries_have_three_seconds_together(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = skopeo()
    fake.late = {"inspect"}
    found = run(machine, fake)
    assert ANSWER_WITHIN == 3 and found.archives == ()
    assert [each.reference for each in found.refused] == [GRAFANA, KIALI]
    assert all("did not answer within 3 s" in each.why for each in found.refused)
    assert "\n" not in found.in_one_line() and kept(machine) == []


@pytest.mark.parametrize(
    ("when", "said", "meant", "remedy"),
    [
        ("inspect", "dial tcp: lookup one.test: no such host", "can't be reached", "local.registry_mirrors"),
        ("inspect", "dial tcp 127.0.0.1:1: connect: connection refused", "can't be reached", "local.registry_mirrors"),
        ("inspect", "unauthorized: authentication required", "other credentials", "skopeo login"),
        ("inspect", "requested access to the resource is denied: 403", "other credentials", "skopeo login"),
        ("inspect", "no image found in manifest list for architecture arm64", "this machine's CPU", "image_archives"),
        ("copy", "writing blob: Digest did not match, expected sha256:1, got sha256:2", "another digest", "registry"),
        ("copy", "write /x/oci.tar: no space left on device", "the disk is full", "make room"),
        ("copy", "it exploded", "skopeo failed: it exploded", "local.registry_mirrors"),
    ],
)  # fmt: skip
def test_each_failure_is_told_and_leaves_nothing(
    machine: Machine, when: str, said: str, meant: str, remedy: str
) -> None:
    fake = skopeo()
    fake.failures = {when: said}
    found = run(machine, fake, GRAFANA)
    [refusal] = found.refused
    assert found.archives == () and kept(machine) == []
    assert meant in refusal.why and said in refusal.why and remedy in refusal.remedy
    fake.failures = {}
    assert [each.images for each in run(machine, fake, GRAFANA).archives] == [(GRAFANA,)], (
        "the control: it heals"
    )


def test_one_that_is_refused_does_not_cost_the_others(machine: Machine) -> None:
    found = run(machine, skopeo(), GRAFANA, "one.test/none:1")
    assert [each.images for each in found.archives] == [(GRAFANA,)]
    assert [each.reference for each in found.refused] == ["one.test/none:1"]
    assert "does not have it" in found.in_one_line()


def test_an_image_for_another_cpu_is_not_fetched(machine: Machine) -> None:
    fake = FakeSkopeo({GRAFANA: "vax"})
    [refusal] = run(machine, fake, GRAFANA).refused
    assert "it is for vax" in refusal.why and CPU in refusal.why and fake.did("copy") == 0


def test_half_an_archive_is_never_imported(machine: Machine) -> None:
    fake = skopeo()
    fake.cut = True
    assert run(machine, fake, GRAFANA).archives == () and kept(machine) == []
    fake.cut = False
    [archive] = run(machine, fake, GRAFANA).archives
    archive.path.write_bytes(archive.path.read_bytes()[:300])  # the disk lost the rest
    assert [each.images for each in run(machine, fake, GRAFANA).archives] == [(GRAFANA,)]
    assert fake.did("copy") == 3


def test_a_disk_with_little_room_is_not_filled(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=10**9))
    fake = skopeo()
    [refusal] = run(machine, fake, GRAFANA).refused
    assert "1.0 GB free" in refusal.why and fake.did("copy") == 0 and kept(machine) == []


def test_without_skopeo_nothing_is_asked(machine: Machine, tmp_path: Path) -> None:
    fake = skopeo()
    bare = machine.model_copy(update={"path": str(tmp_path)})
    found = run(bare, fake)
    assert "apt-get install skopeo" in found.in_one_line() and fake.commands == []
    assert pull.problems("always", bare)[0].remedy == "apt-get install skopeo"
    assert pull.problems("always", machine) == pull.problems("auto", bare) == []


@pytest.mark.parametrize(
    ("name", "mirrors", "place"),
    [
        ("grafana/grafana:1", {}, "grafana/grafana:1"),
        ("grafana/grafana:1", {"*": "mirror.test"}, "mirror.test/grafana/grafana:1"),
        ("grafana/grafana:1", {"one.test": "mirror.test"}, "grafana/grafana:1"),
        ("python:3", {}, "library/python:3"),
        ("python:3", {"*": "mirror.test/all"}, "mirror.test/all/library/python:3"),
    ],
)
def test_a_name_without_a_registry_is_completed_by_skopeo(
    machine: Machine, name: str, mirrors: dict[str, str], place: str
) -> None:
    found = run(machine, FakeSkopeo({place: CPU}), name, **mirrors)
    assert [each.images for each in found.archives] == [(f"completed.test/{name}",)] and found.refused == ()


def test_a_digest_without_a_registry_is_asked_nowhere(machine: Machine) -> None:
    fake = skopeo()
    assert "names no registry" in run(machine, fake, f"curlimages/curl@sha256:{'cd' * 32}").refused[0].why
    assert fake.commands == []


@pytest.mark.parametrize(
    ("mirrors", "place", "plain"),
    [
        ({"one.test": "mirror.test/all"}, "mirror.test/all/grafana/grafana:12.0.1", False),
        ({"*": "http://127.0.0.1:5000"}, "127.0.0.1:5000/grafana/grafana:12.0.1", True),
        ({"*": "other.test", "one.test": "mirror.test"}, "mirror.test/grafana/grafana:12.0.1", False),
        ({"two.test": "mirror.test"}, GRAFANA, False),
    ],
)
def test_a_mirror_stands_in_and_the_image_keeps_its_name(
    machine: Machine, mirrors: dict[str, str], place: str, plain: bool
) -> None:
    fake = FakeSkopeo({place: CPU})
    assert [each.images for each in run(machine, fake, GRAFANA, **mirrors).archives] == [(GRAFANA,)]
    assert all(
        ("--tls-verify=false" in words or "--src-tls-verify=false" in words) is plain
        for words in fake.commands
    )


def test_a_digest_goes_before_the_tag(machine: Machine) -> None:
    digest = f"sha256:{'cd' * 32}"
    fake = FakeSkopeo({f"one.test/grafana/grafana@{digest}": CPU})
    wanted = f"{GRAFANA}@{digest}"
    assert [each.images for each in run(machine, fake, wanted).archives] == [(wanted,)]


def test_progress_is_told_in_mb(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"x" * 2_700_000)
    told: list[Update] = []
    pull._teller(told.append, GRAFANA, 1, 3)(pull._size(tmp_path))
    assert told == [Update(pull.WHAT, 1, 3, f"{GRAFANA}: 3 MB")]


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (LabConfig(), "never"),
        (LabConfig(keep=True), "auto"),
        (LabConfig(serve=True), "auto"),
        (LabConfig(keep_on_failure=True), "never"),
        (LabConfig(keep=True, local=LocalSettings(pull="never")), "never"),
        (LabConfig(local=LocalSettings(pull="always")), "always"),
    ],
)
def test_only_kept_and_served_labs_ask_by_themselves(config: LabConfig, wanted: str) -> None:
    assert config.pull == wanted


@pytest.mark.parametrize(
    "mirror", ["user:secret@mirror.test", "https://mirror.test", "--flag", "a b", "m.test/a?b", ""]
)
def test_a_mirror_that_is_none_is_refused(mirror: str) -> None:
    with pytest.raises(ValueError, match="registry_mirrors"):
        LocalSettings(registry_mirrors={"*": mirror})
