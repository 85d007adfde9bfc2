from pathlib import Path
from typing import Any

import pytest

from meshlab.cli.preflight import preflight, provider_problems, pull_problems, runs_dir_problems
from meshlab.config.loader import load
from meshlab.config.settings import LabConfig, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.here({"HOME": str(tmp_path)})


def test_a_folder_that_can_be_made_is_fine_and_is_not_made(tmp_path: Path) -> None:
    assert runs_dir_problems(tmp_path / "a" / "b") == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    [problem] = runs_dir_problems(tmp_path / "file" / "runs")
    assert problem.where == f"--runs-dir {tmp_path / 'file' / 'runs'}"
    assert problem.what == f"{tmp_path / 'file'} is no directory"


@pytest.mark.parametrize("name", ["/proc/nope", "/proc/nope/deeper"])
def test_a_folder_that_can_not_be_written_is_named(name: str) -> None:
    [problem] = runs_dir_problems(Path(name))
    assert problem.what == "can't be written: No such file or directory"


def test_a_name_that_no_file_system_takes_is_named(tmp_path: Path) -> None:
    [problem] = runs_dir_problems(tmp_path / ("x" * 300))
    assert problem.what == "can't be written: File name too long"


def test_what_is_known_to_be_wrong_is_not_looked_at(machine: Machine) -> None:
    config = LabConfig(runs_dir=Path("/proc/nope"))
    assert preflight(config, machine, spoiled={"runs_dir", "cluster", "istio"}) == []


def test_mesh_cluster_and_folder_are_all_looked_at(machine: Machine) -> None:
    config = LabConfig.model_validate({
        "cluster": "existing", "runs_dir": "/proc/nope", "istio": {"istioctl": "/none/istioctl"}
    })  # fmt: skip
    places = [problem.where for problem in preflight(config, machine, spoiled=set())]
    assert places == ["--runs-dir /proc/nope", "--istioctl /none/istioctl", "kubeconfig"]


def test_gke_needs_a_project_and_credentials(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
    places = [problem.where for problem in provider_problems(LabConfig(cluster="gke"), machine)]
    assert places == ["--project"]
    config = LabConfig.model_validate({"cluster": "gke", "gke": {"project": "p"}})
    [problem] = provider_problems(config, machine)
    assert (problem.where, "/nonexistent was not found" in problem.what) == ("--cluster gke", True)
    assert "gcloud auth application-default login" in problem.remedy


@pytest.mark.parametrize(
    ("local", "path", "said"),
    [
        ({"pull": "never"}, True, ["local.pull never"]),
        ({"pull": "never", "image_archives": ["x.tar"]}, True, []),
        ({}, True, []),
        ({"pull": "auto"}, False, ["official images"]),
        ({"image_archives": ["x.tar"]}, False, []),
        ({"pull": "always"}, False, []),
        ({"cni": True}, True, ["local.cni"]),
    ],
)
def test_official_images_that_can_not_come_to_a_local_cluster_are_told_before(
    tmp_path: Path, local: dict[str, Any], path: bool, said: list[str]
) -> None:
    if path:
        (tmp_path / "skopeo").write_text("")
        (tmp_path / "skopeo").chmod(0o755)
    machine = Machine.here({"HOME": str(tmp_path), "PATH": str(tmp_path)})
    config = LabConfig.model_validate({"istio": {"distribution": "release"}, "local": local})
    assert [problem.where for problem in pull_problems(config, machine)] == said
    assert pull_problems(LabConfig.model_validate({"local": local}), machine) == []


@pytest.mark.parametrize(
    ("more", "said"), [({}, ["--zone", "--project"]), ({"gke.project": "p"}, ["--zone", "--cluster gke"])]
)
def test_a_bad_zone_does_not_hide_that_the_project_or_the_credentials_are_missing(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, str], said: list[str]
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
    flags = {"cluster": "gke", "gke.zone": "moon", "runs_dir": str(tmp_path), **more}
    loaded = load(flags, environ={})
    problems = [*loaded.problems, *preflight(loaded.config, machine, spoiled=loaded.spoiled)]
    assert [problem.where for problem in problems] == said


def test_a_secret_among_the_settings_is_refused_without_being_said(machine: Machine) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhdWRpdCJ9.c2lnbmF0dXJl"
    config = LabConfig.model_validate({"prometheus": {"namespace": f"x-{token}"}})
    [problem] = preflight(config, machine, spoiled={"runs_dir", "cluster", "istio"})
    assert problem.where == "prometheus" and "secret" in problem.what and token not in str(problem)
