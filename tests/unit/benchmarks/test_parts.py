"""Each part starts what it says, and tells ratios of what ran in turns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import lab_by_hand, parts
from benchmarks.__main__ import main
from benchmarks.commands import Bench
from benchmarks.parts import PARTS
from meshlab.core.errors import MeshlabError
from meshlab.core.process import Completed
from tests.fakes.programs import Call, FakePrograms
from tests.unit.benchmarks.test_steps import BASELINE


class FakeProject(FakePrograms):
    """Runs no module: a flow leaves the baseline's run. codes: module → exit code, 0 where not given."""

    def __init__(self, codes: dict[str, int] | None = None) -> None:
        super().__init__()
        self.codes = codes or {}
        self.modules: list[str] = []
        self.databases = 0

    def answer(self, call: Call) -> Completed:
        if call.words[0] == "sh":
            self.modules.append("by_hand.sh")
            return Completed(call.words, 0, "up 2.4\ninstall 14.0\nwhole 90.6\n", "", 90.6)
        assert call.words[1] == "-m", call.words
        module = call.words[2]
        if module == "prefect":
            home = Path((call.env or {})["PREFECT_HOME"])
            home.mkdir(parents=True)
            (home / "prefect.db").touch()
            self.databases += 1
            return Completed(call.words, 0, "", "", 0.1)
        self.modules.append(module)
        if "--runs-dir" in call.words:
            shutil.copytree(BASELINE, Path(call.words[call.words.index("--runs-dir") + 1]) / "a-run")
        elif module not in ("flows.full_lab", "meshlab.clusters.local"):
            raise AssertionError(f"nobody knows {call.words}")
        red = any("red.yaml" in word for word in call.words)
        return Completed(call.words, self.codes.get(module, 1 if red else 0), "", "said", 0.1)


def _bench(tmp_path: Path, fake: FakeProject, run: Path | None = BASELINE) -> Bench:
    return Bench(fake, tmp_path / "bench", 2, run)


def test_orchestration_tells_help_and_the_share_of_the_run(tmp_path: Path) -> None:
    fake = FakeProject()
    found = PARTS["orchestration"].measure(_bench(tmp_path, fake))
    assert fake.modules == ["flows.full_lab"] * 2
    assert len(found.seconds["help"]) == len(found.runs["help_cpu"]) == 2
    assert 0 < found.ratios["prefect_share"][0] < 1
    assert PARTS["orchestration"].measure(_bench(tmp_path, fake, None)).ratios == {}


def test_the_critical_path_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = PARTS["critical-path"].measure(_bench(tmp_path, FakeProject()))
    assert found.runs["path"][0]["step"] == "start-cluster"
    assert "install-istio" in capsys.readouterr().out


def test_red_and_green_run_in_turns(tmp_path: Path) -> None:
    fake = FakeProject()
    found = PARTS["red-run"].measure(_bench(tmp_path, fake))
    assert ["red.yaml" in " ".join(words) for words in fake.commands or []] in ([], [False, True] * 2)
    assert fake.modules == ["flows.full_lab"] * 4
    assert len(found.ratios["red_green"]) == 2
    assert fake.databases == 1, "no turn pays for Prefect's database"


def test_a_run_with_another_verdict_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(MeshlabError, match="ended with 3"):
        PARTS["red-run"].measure(_bench(tmp_path, FakeProject({"flows.full_lab": 3})))


def test_the_cluster_is_measured_alone_and_as_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeProject()
    monkeypatch.setattr(lab_by_hand, "bookinfo_ready", lambda run: 7.5)
    found = PARTS["cluster"].measure(_bench(tmp_path, fake))
    local = "meshlab.clusters.local"
    assert fake.modules == ["flows.full_lab", local, local] * 2 + [local], (
        "at last what a failure would leave"
    )
    assert found.runs["step"] == [pytest.approx(137.87, abs=0.01)] * 2
    assert found.runs["bookinfo"] == [7.5, 7.5]


def test_nights_run_on_the_lab_that_is_named(tmp_path: Path) -> None:
    fake = FakeProject()
    found = PARTS["nightly"].measure(_bench(tmp_path, fake))
    assert fake.modules == ["flows.nightly"] * 2
    assert len(found.seconds["nightly"]) == 2


def test_nights_run_on_a_lab_of_their_own_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def kept_lab(bench: Bench, name: str) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(night=("--kubeconfig", "kc"))

    monkeypatch.setattr(parts, "kept_lab", kept_lab)
    fake = FakeProject()
    assert len(PARTS["nightly"].measure(_bench(tmp_path, fake, None)).seconds["nightly"]) == 2
    assert fake.modules == ["flows.nightly"] * 2


def test_a_cluster_that_was_up_before_is_no_measurement(tmp_path: Path) -> None:
    class Adopting(FakeProject):
        def answer(self, call: Call) -> Completed:
            done = super().answer(call)
            for path in (tmp_path / "bench").glob("*/a-run/evidence/steps/start-cluster.json"):
                path.write_text(path.read_text().replace('"adopted": false', '"adopted": true'))
            return done

    with pytest.raises(MeshlabError, match="was up before"):
        PARTS["red-run"].measure(_bench(tmp_path, Adopting()))


def test_the_documents_commands_run_in_turns_with_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[Path] = []
    monkeypatch.setattr(lab_by_hand, "prepare", lambda run, folder, config: prepared.append(run))
    fake = FakeProject()
    found = PARTS["lab-by-hand"].measure(_bench(tmp_path, fake))
    local = "meshlab.clusters.local"
    assert fake.modules == ["flows.full_lab", "by_hand.sh"] * 2 + [local], (
        "at last what a failure would leave"
    )
    assert len(prepared) == 2
    assert len(found.ratios["prefect_share"]) == 2 and found.runs["path"][0]["step"] == "start-cluster"
    assert found.runs["by_hand"] == [90.6, 90.6]
    assert found.runs["steps"]["install"] == 14.0
    assert found.runs["lab_steps"]["start-cluster"] == pytest.approx(137.87, abs=0.01)


def test_a_script_that_was_cut_off_has_no_time() -> None:
    with pytest.raises(MeshlabError, match="end"):
        lab_by_hand.read("up 2.4\n")


def test_the_script_gets_the_runs_own_operator_and_images(tmp_path: Path) -> None:
    from meshlab.config.settings import LabConfig

    run = tmp_path / "run"
    shutil.copytree(BASELINE, run)
    samples = tmp_path / "samples"
    for name in ("bookinfo/platform/kube/bookinfo", "sleep/sleep", "addons/prometheus", "addons/jaeger"):
        path = samples / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: tracing}\nspec: {ports: []}\n")
    steps = run / "evidence" / "steps"
    (steps / "find-istio.json").write_text(
        (steps / "find-istio.json")
        .read_text()
        .replace("@CACHE@/istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad", str(tmp_path))
    )
    (tmp_path / "bin").mkdir()
    with pytest.raises(MeshlabError, match="prometheus"):
        lab_by_hand.prepare(run, tmp_path / "by-hand", LabConfig())
    # The manifests here are no real ones; what comes first was written.
    operator = json.loads((tmp_path / "by-hand" / "operator.json").read_text())
    assert operator["spec"]["hub"] == "localhost/meshlab"
    assert len(json.loads((tmp_path / "by-hand" / "bookinfo.json").read_text())["items"]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["orchestration", "--times", "0"],
        ["critical-path"],
        ["critical-path", "--run", "/nowhere"],
    ],
)
def test_bad_input_is_told_before_anything_runs(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err
