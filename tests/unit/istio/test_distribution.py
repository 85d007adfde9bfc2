"""Which Istio runs follows from the settings, and what it can't do is known before anything is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshlab.clusters.local import pins
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError, IstioError
from meshlab.istio.distribution import NEEDED_SAMPLES, Distribution, locate, problems
from tests.fakes.istioctl import FakeIstioctl, Said


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(
        cache=tmp_path / "cache", state=tmp_path / "state", home=tmp_path, path=str(tmp_path / "path")
    )


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release as it is unpacked: bin/istioctl, samples/, manifests/profiles/. Returns istioctl."""
    root = tmp_path / "istio-1.30.0"
    for name in (
        *(f"samples/{each}" for each in NEEDED_SAMPLES),
        "manifests/profiles/demo.yaml",
        "bin/istioctl",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "bin/istioctl").chmod(0o755)
    return root / "bin/istioctl"


def config(cluster: str = "local", **istio: object) -> LabConfig:
    return LabConfig.model_validate({"cluster": cluster, "istio": istio})


def says(version: str) -> FakeIstioctl:
    return FakeIstioctl({"version": Said(json.dumps({"clientVersion": {"version": version}}))})


def whats(found: list) -> list[str]:
    return [f"{problem.where}: {problem.what}" for problem in found]


def test_the_defaults_have_no_problems(machine: Machine):
    assert problems(config(), machine) == []


def test_all_problems_of_the_embedded_one_are_named_at_once(machine: Machine, tmp_path: Path):
    found = problems(
        config(version="1.21.0", profile="mars", istioctl="/x", operator_file=tmp_path / "none"), machine
    )
    assert [text.split()[0] for text in whats(found)] == [
        "--operator-file",
        "--istio-version",
        "--istioctl",
        "--profile",
    ]
    assert all(problem.remedy for problem in found)


def test_the_embedded_version_may_be_asked_for(machine: Machine):
    assert problems(config(version=pins.versions().istio), machine) == []


def test_nothing_of_it_depends_on_the_provider(machine: Machine):
    asked = {"distribution": "embedded", "profile": "ambient"}
    assert whats(problems(config("existing", **asked), machine)) == whats(
        problems(config("local", **asked), machine)
    )


def test_a_release_is_found_with_its_samples_above(machine: Machine, release: Path):
    asked = config("existing", istioctl=release)
    assert problems(asked, machine, runner=says("1.30.0")) == []
    found = locate(asked, machine=machine, runner=says("1.30.0"))
    assert found == Distribution("release", release, "1.30.0", release.parent.parent / "samples")
    assert not found.embedded


def test_a_release_on_path_is_found(machine: Machine, release: Path):
    (Path(machine.path)).symlink_to(release.parent)
    assert problems(config("existing"), machine, runner=says("1.30.0")) == []


def test_no_release_at_all(machine: Machine):
    [problem] = problems(config("existing"), machine)
    assert problem.where == "--istioctl" and "PATH" in problem.what
    assert "--istio-version" in problem.remedy and "istio.distribution=embedded" in problem.remedy
    assert problems(config("gke"), machine) == [], "the release is downloaded there"
    with pytest.raises(InputError):
        locate(config("gke"), machine=machine)


def test_a_release_that_can_not_be_used(machine: Machine, release: Path, tmp_path: Path):
    def what(program: Path, runner: FakeIstioctl, **asked: object) -> str:
        return " | ".join(
            whats(problems(config("existing", istioctl=program, **asked), machine, runner=runner))
        )

    good = says("1.30.0")
    assert "does not exist" in what(tmp_path / "none", good)
    assert "is not a file" in what(tmp_path, good)
    assert "is 1.30.0" in what(release, good, version="1.31.0")
    assert "profile" in what(release, good, profile="mars")
    assert "does not run" in what(
        release, FakeIstioctl({"version": Said(stderr="exec format error", returncode=1)})
    )
    (release.parent.parent / "samples" / NEEDED_SAMPLES[0]).unlink()
    assert f"lacks {NEEDED_SAMPLES[0]}" in what(release, good)
    release.chmod(0o644)
    assert "is not executable" in what(release, good)
    bare = tmp_path / "deep" / "a" / "b" / "istioctl"
    bare.parent.mkdir(parents=True)
    bare.touch(mode=0o755)
    assert "no samples/ folder" in what(bare, good)


def test_the_embedded_one_must_be_compiled(machine: Machine):
    with pytest.raises(IstioError, match="not compiled yet"):
        locate(config(), machine=machine)


def test_an_istioctl_of_the_embedded_one_is_taken_where_nothing_is_compiled(machine: Machine, release: Path):
    have = pins.versions().istio
    asked = config("existing", distribution="embedded", istioctl=release)
    assert problems(asked, machine, runner=says(have)) == []
    found = locate(asked, machine=machine, runner=says(have))
    assert found == Distribution("embedded", release, have, release.parent.parent / "samples")
    [other] = problems(asked, machine, runner=says("1.30.0"))
    assert other.what.endswith("istioctl is 1.30.0")
    with pytest.raises(InputError, match=r"is 1\.30\.0"):
        locate(asked, machine=machine, runner=says("1.30.0"))


def test_the_local_cluster_takes_no_other_istioctl(machine: Machine, release: Path):
    [found] = problems(config("local", istioctl=release), machine, runner=says(pins.versions().istio))
    assert found.where == f"--istioctl {release}" and "istio.distribution=release" in found.remedy
