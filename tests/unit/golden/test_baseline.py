"""What the program of 478b25f wrote, today's reads: ledgers, a run that was cut off, a history, kubeconfigs.

Nothing there names a Python class or module: a kept result is read by the type that the step of that name returns now.
So names in the code may change; fields of these types may not, or --resume must refuse by name.
"""

# ruff: noqa: F401, F811 - fixtures are imported, and their names are parameters

import base64
import importlib
import json
import os
import pkgutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from prefect import Task

import tasks
from meshlab.cli.flags import Again
from meshlab.cli.resume import judge_cluster, judge_state, kept_settings
from meshlab.cli.teardown import decide
from meshlab.clusters.existing import current_context
from meshlab.config.settings import LabConfig, LocalSettings, Machine
from meshlab.core.errors import InputError
from meshlab.history.store import History
from meshlab.kube.client import Kube
from meshlab.lifecycle import resume, teardown
from meshlab.run.journal import RunRef
from meshlab.run.ledger import Entry, Ledger
from meshlab.run.orphans import forget, orphans
from meshlab.shared_cluster import lease
from meshlab.shared_cluster.cleanup import take_out
from tasks.teardown import CreatedResources, remember
from tests.fakes.clock import FakeClock
from tests.fakes.gke.emulator import Emulator
from tests.fakes.kube import FakeKube
from tests.unit.clusters.gke.conftest import emulator, server

BASELINE = Path(__file__).parents[2] / "golden" / "baseline"
ROOT = BASELINE.parents[2]
LAB, NIGHT, OLD_NIGHT = "20261127t184958z-347a", "20261127t190102z-8ba1", "20261127t180639z-8b41"
HOST = "https://10.181.0.1:6443"


def written(name: str, tmp_path: Path, **more: str) -> str:
    """A file's text, with the folders of this test."""
    text = (BASELINE / name).read_text(encoding="utf-8")
    words = {
        "RUNS": str(tmp_path / "runs"),
        "STATE": str(tmp_path / "state" / "meshlab"),
        "CACHE": str(tmp_path / "cache"),
    }
    for word, value in {**words, **more}.items():
        text = text.replace(f"@{word}@", value)
    return text


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with both ledgers."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = Machine.here()
    folder = found.state / "ledger"
    folder.mkdir(parents=True)
    (folder / f"{LAB}.json").write_text(written("ledger.json", tmp_path))
    (folder / f"{NIGHT}.json").write_text(written("ledger-of-a-night.json", tmp_path))
    return found


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    """The lab that was cut off in check-authz."""
    for path in (BASELINE / "run").rglob("*.json*"):
        target = tmp_path / "runs" / LAB / path.relative_to(BASELINE / "run")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(written(str(path.relative_to(BASELINE)), tmp_path))
    found = resume.find(tmp_path / "runs", LAB)
    assert found is not None
    return found


def test_a_teardown_finds_the_local_cluster_of_the_ledger(machine: Machine) -> None:
    assert [ledger.run_id for ledger in orphans(machine)] == [LAB, NIGHT]
    plan = teardown.of_runs(LabConfig(), machine, [LAB, NIGHT])
    assert [(target.run_id, target.settings) for target in plan.targets] == [
        (LAB, LocalSettings(name="mltest"))
    ]
    config, parameters = decide(["--run", LAB], machine, "")
    assert parameters["runs"] == (LAB,) and config.runs_dir == LabConfig().runs_dir
    assert forget(machine, Entry("cluster", "mltest", "local")) == [LAB]
    ledger = Ledger.of(machine, LAB)
    assert ledger is not None and ledger.entries() == () and ledger.flow_run


def test_what_a_lab_had_changed_is_put_back(machine: Machine) -> None:
    kube = FakeKube()
    kube.host = HOST
    kube.kinds["security.istio.io/v1", "PeerAuthentication"] = True
    kube.kinds[lease.API, lease.KIND] = True
    for kind, namespace, name in (
        ("PeerAuthentication", "istio-system", "default"),
        ("Deployment", "default", "authz-as-productpage"),
        ("Deployment", "default", "authz-as-reviews"),
        ("Deployment", "default", "productpage-v1"),
    ):
        group = "apps/v1" if kind == "Deployment" else "security.istio.io/v1"
        kube.put({"apiVersion": group, "kind": kind, "metadata": {"namespace": namespace, "name": name}})
    ledger = Ledger.of(machine, LAB)
    assert ledger is not None
    take_out(kube, ledger, "default", clock=FakeClock())  # type: ignore[arg-type]
    assert [key[3] for key in kube.store] == ["productpage-v1"]
    assert not any(entry.kind == "change" for entry in ledger.entries())


def test_what_a_night_had_applied_on_a_cluster_of_others_is_removed(machine: Machine) -> None:
    kube = FakeKube()
    kube.host = HOST
    kube.kinds["telemetry.istio.io/v1", "Telemetry"] = kube.kinds[lease.API, lease.KIND] = True
    ledger = Ledger.of(machine, NIGHT)
    assert ledger is not None
    applied = [json.loads(entry.content) for entry in ledger.entries() if entry.kind == "object"]
    for each in applied:
        meta = {"name": each["name"], **({"namespace": each["namespace"]} if each["namespace"] else {})}
        kube.put({"apiVersion": each["api_version"], "kind": each["kind"], "metadata": meta})
    telemetry = {"namespace": "meshlab", "name": "meshlab-tracing"}
    kube.put({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": telemetry, "spec": {}})
    kube.put({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "theirs"}})
    assert len(applied) == 4
    for _ in range(2):
        take_out(kube, ledger, "meshlab", clock=FakeClock())  # type: ignore[arg-type]
    assert [key[3] for key in kube.store] == ["theirs"]
    assert ledger.entries() == ()


def types() -> dict[str, Any]:
    """Each step of Prefect's tasks, and the type of its result."""
    modules = [
        importlib.import_module(f"tasks.{module.name}") for module in pkgutil.iter_modules(tasks.__path__)
    ]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, Task)]
    return {task.name: get_type_hints(task.fn)["return"] for task in found}


def test_every_kept_result_is_read_and_loses_no_field(run: RunRef, tmp_path: Path) -> None:
    known, again = types(), RunRef("again", tmp_path / "again", "full-lab", run.started)
    again.evidence.mkdir(parents=True)
    names = sorted(path.stem for path in (run.evidence / "steps").glob("*.json"))
    assert len(names) == 27
    for name in names:
        found = resume.kept(run, name)
        assert found is not None and name in known, name
        if found.result is None:
            continue  # of a step whose result belongs to its process
        value = resume.read_result(found, known[name])
        facts = {"cluster": found.cluster, "inputs": found.inputs, "pods": found.pods}
        resume.keep(again, name, value, known[name], **facts)
        assert resume.kept(again, name) == found


def test_a_lab_that_was_cut_off_goes_on(run: RunRef, machine: Machine) -> None:
    config = LabConfig(runs_dir=run.directory.parent)
    found, kept = kept_settings(config, Again(LAB), "full-lab")
    assert found == run and LabConfig.model_validate(kept).local.name == "mltest"
    judge_state(run, Again(LAB), machine)
    resumption = resume.begin(run)
    assert resumption.begun - resumption.finished == {"check-authz"}
    assert {"install-istio", "deploy-bookinfo", "check-mtls"} < resumption.finished and not resumption.leaving
    step = resume.kept(run, "install-istio")
    assert step is not None
    facts = {"cluster": step.cluster, "inputs": step.inputs, "pods": step.pods}
    assert resume.why_not(step, resumption, "install-istio", **facts) == ""
    for flow, again in (("nightly-validation", Again(LAB)), ("full-lab", Again(LAB, "dance"))):
        with pytest.raises(InputError, match=LAB):
            kept_settings(config, again, flow)


def test_its_cluster_that_is_gone_is_named(run: RunRef) -> None:
    with pytest.raises(InputError, match=f"--resume {LAB}: the cluster that the run left can't be asked"):
        judge_cluster(run)


def test_what_a_night_had_made_when_it_was_leaving_is_known(run: RunRef, tmp_path: Path) -> None:
    (run.evidence / "steps" / "made.json").write_text(written("made-of-a-night.json", tmp_path))
    made = CreatedResources()
    remember(run, made)
    assert made.cluster is not None and made.cluster.adopted and made.mesh is not None and made.mesh.reused
    assert [ref.name for ref in made.labelled.created] == ["meshlab"] and made.objects
    assert made.tracing is not None and made.istio is not None


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(written("history.sql", tmp_path))
    return path


def test_a_history_is_read_and_goes_on(history: Path) -> None:
    with History(history, create=False) as store:
        [night] = store.runs(flow="nightly-validation")
        assert (night.run_id, night.verdict, night.provider) == (OLD_NIGHT, "pass", "existing")
        assert len(night.checks) == len(night.measures) == 8 and night.edges and night.findings
        assert night.versions["istio.control_plane"] == "1.31.0-dev"
        store.record(night)
        assert [each.run_id for each in store.runs()] == [OLD_NIGHT]


def test_the_command_shows_that_history(history: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.history", "runs", "--path", str(history)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and OLD_NIGHT in done.stdout, done.stderr


def test_a_kubeconfig_of_a_local_cluster_is_used(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    data = base64.b64encode(b"no certificate").decode()
    path.write_text(written("kubeconfig.yaml", tmp_path, CA=data, CERTIFICATE=data, KEY=data))
    assert current_context(path) == "mltest"
    kube = Kube.connect(path, "mltest")
    assert kube.host == HOST and Path(str(kube.configuration.cert_file)).read_bytes() == b"no certificate"


def test_a_kubeconfig_of_gke_gets_its_token_from_the_module_that_it_names(
    tmp_path: Path, emulator: Emulator
) -> None:
    words = {"PYTHON": sys.executable, "CODE": str(ROOT), "TOKENS": f"http://{emulator.compute}/token"}
    content = yaml.safe_load(written("kubeconfig-gke.yaml", tmp_path, **words))
    plugin = content["users"][0]["user"]["exec"]
    environment = {**os.environ, **{each["name"]: each["value"] for each in plugin["env"]}}
    done = subprocess.run(
        [plugin["command"], *plugin["args"]],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert json.loads(done.stdout)["status"]["token"] == "a-token-of-the-emulator"


@pytest.mark.parametrize(
    ("module", "words", "code", "said"),
    [
        ("meshlab.clusters.local", ["up", "--help"], 0, "--nodes"),
        ("meshlab.clusters.local", ["down", "--help"], 0, "--network"),
        ("meshlab.clusters.local", ["status", "--name", "nobody"], 0, "nobody"),
        ("meshlab.clusters.local.supervisor", ["plan.json"], 1, "plan.json"),
        ("meshlab.clusters.gke.credential", ["--help"], 0, "--token-uri"),
    ],
)
def test_modules_that_other_programs_start_keep_their_address(
    module: str, words: list[str], code: int, said: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == code and said in done.stdout + done.stderr, done.stderr
