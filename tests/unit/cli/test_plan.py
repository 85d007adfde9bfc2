from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from meshlab.cli import plan as launch_plan
from meshlab.cli.command import Command
from meshlab.cli.flags import PLAN, RESUME, parse
from meshlab.cli.main import read_command_line
from meshlab.config.settings import Machine
from meshlab.core.errors import InputError
from tests.fakes.gke.emulator import Emulator, running

LAB = Command("lab", "The lab.", resumable=True, plannable=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with running() as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Emulator:
    """An emulated cloud, its books empty; this process in an empty home of its own."""
    server.books.__init__()  # type: ignore[misc]
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return server


def line(emulator: Emulator, *more: str) -> list[str]:
    endpoints = f"--set gke.api_endpoint={emulator.api} --set gke.compute_endpoint={emulator.compute}"
    embedded = "--set istio.distribution=embedded --set images=embedded"
    return [*f"--plan --cluster gke --project p {endpoints} {embedded}".split(), *more]


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        read_command_line(LAB, arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_plan_is_yaml_and_nothing_is_written_anywhere(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line(emulator)) == 0
    out, err = capsys.readouterr()
    shown = yaml.safe_load(out)
    assert list(shown) == ["where", "preflight", "cost", "calls", "CreateCluster", "set_when_the_run_begins"]
    assert shown["CreateCluster"]["cluster"]["initialClusterVersion"] == "1.34.1-gke.2037000"
    assert err == "" and shown["preflight"]["problems"] == []
    assert set(emulator.books.calls) == {"GetCluster", "GetServerConfig"} and emulator.books.left() == {}
    assert list((tmp_path / "home").iterdir()) == [] and [each.name for each in tmp_path.iterdir()] == [
        "home"
    ]
    assert emulator.books.backend.token()[0] not in out


def test_every_problem_is_named_beside_the_plan(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.books.quotas["CPUS"] = (4, 0)
    emulator.books.denied = {"compute.disks.list"}
    wrong = ["--set", "gke.network=none", "--frobnicate", "--nodes", "2", "--runs-dir", "/proc/nope"]
    assert run(line(emulator, *wrong)) == 2
    out, err = capsys.readouterr()
    shown = yaml.safe_load(out)
    assert len(shown["preflight"]["problems"]) == 6 and "6 problems, nothing was started" in err
    for said in (
        "--frobnicate",
        "--nodes",
        "/proc/nope",
        "gke.network=none",
        "CPUS short by 2",
        "compute.disks.list",
    ):
        assert said in err
    assert shown["CreateCluster"]["cluster"]["network"] == "none"
    assert emulator.books.left() == {} and list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("cluster", ["local", "existing"])
def test_a_plan_is_for_gke(
    cluster: str, emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--plan", "--cluster", cluster]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "--plan" in err and "--cluster gke" in err and "1 problem" in err
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize(
    ("more", "where"),
    [
        (["--zone", "moon"], "--zone"),
        (["--cluster", "mars"], "--cluster"),
        (["--resume", "20260101t000000z-aaaa"], "--plan"),
    ],
)
def test_what_can_not_be_planned_is_refused(emulator: Emulator, more: list[str], where: str) -> None:
    words = parse(line(emulator, *more), "lab", "", [*PLAN, *RESUME])
    resumes = bool(words.own.pop("resume"))
    assert words.own.pop("plan")
    with pytest.raises(InputError) as caught:
        launch_plan.show(words, Machine.here(), resumes=resumes)
    assert [problem.where for problem in caught.value.problems] == [where]


def test_a_plan_without_a_project_asks_for_one(emulator: Emulator) -> None:
    words = parse(["--plan", "--cluster", "gke"], "lab", "", PLAN)
    found, problems = launch_plan.plan_of(words, Machine.here())
    assert found is None and [problem.where for problem in problems] == ["--project"]
