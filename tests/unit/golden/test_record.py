"""The records of the baseline are whole, and a run that shows anything else is found."""

import copy
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from meshlab.checks.base import owed
from meshlab.config.settings import LabConfig
from tests.golden.record import RECORDS, artifacts_in, compare, objects_that_differ, read, record_of

NAMES = sorted(path.stem for path in RECORDS.glob("*.json"))


def test_there_is_a_record_of_each_flow() -> None:
    assert {name: read(name)["flow"] for name in NAMES} == {
        "full-lab": "full-lab",
        "full-lab-kept": "full-lab",
        "nightly": "nightly-validation",
        "sabotage": "sabotage",
    }
    assert set(read("full-lab")["checks"]) == set(owed(LabConfig()))
    assert (
        sum(
            path.stat().st_size
            for path in RECORDS.parent.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        )
        < 200_000
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_record_does_not_differ_from_itself(name: str) -> None:
    assert compare(read(name), read(name)) == []


def without(record: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    if isinstance(changed[part], dict):
        del changed[part][name]
    else:
        changed[part].remove(name)
    return changed


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("steps", "install-istio"),
        ("checks", "istio.analyze"),
        ("keys", "distribution"),
        ("step keys", "[] > attempts"),
        ("check keys", "[] > remedy"),
        ("images", "[] > ours"),
        ("measures", "request-p50 ms loop=fast"),
        ("applied", "ClusterRole prometheus"),
        ("artifacts", "report markdown"),
        ("files", "evidence/cluster.json"),
    ],
)
def test_what_is_gone_or_new_is_found(part: str, name: str) -> None:
    known = read("full-lab")
    less = without(known, part, name)
    assert [each.endswith(f"{name} is gone") for each in compare(known, less)] == [True]
    assert [each.endswith(f"{name} is new") for each in compare(less, known)] == [True]


def test_a_changed_key_of_evidence_a_verdict_and_a_state_are_found() -> None:
    known = read("sabotage")
    now = copy.deepcopy(known)
    rows = now["evidence"]["sabotage.control"]
    rows["checks[] > seen"] = rows.pop("checks[] > what was seen")
    now["checks"]["sabotage.baseline"] = "fail observe"
    now["steps"]["find-istio"] = "failed"
    del now["catches"]["delay-500-ms"]
    assert sorted(compare(known, now)) == [
        "catches: delay-500-ms is gone",
        "checks: sabotage.baseline is fail observe, was pass observe",
        "evidence: sabotage.control: checks[] > seen is new",
        "evidence: sabotage.control: checks[] > what was seen is gone",
        "steps: find-istio is failed, was done",
    ]


def test_a_run_is_read_from_its_directory_and_its_prefect_server(tmp_path: Path) -> None:
    home, run = tmp_path / "home", tmp_path / "run"
    check = {"id": "istio.cli", "verdict": "pass", "scope": "observe", "evidence": {"sha256": "ab"}}
    step = {"name": "find-istio", "state": "done", "seconds": 0.1}
    measure = {"name": "request-p50", "value": 3.1, "unit": "ms", "labels": {"loop": "fast"}}
    catch = {"fault": "delay", "restored": True}
    run.mkdir()
    (run / "graph-12.svg").touch()
    (run / "evidence" / "steps").mkdir(parents=True)
    ref = {"api_version": "v1", "kind": "Namespace", "namespace": None, "name": "shop"}
    (run / "evidence" / "steps" / "deploy.json").write_text(
        json.dumps({"step": "deploy", "result": [[ref], {"a": 1}]})
    )
    istio = {"CustomResourceDefinition": ["sidecars.networking.istio.io"]}
    (run / "evidence" / "steps" / "list-istio.json").write_text(
        json.dumps({"step": "list-istio", "result": istio})
    )
    result = {
        "flow": "full-lab",
        "verdict": "pass",
        "steps": [step],
        "checks": [check],
        "measures": [measure],
    }
    (run / "result.json").write_text(json.dumps({**result, "catches": [catch], "images": {}}))
    home.mkdir()
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        database.execute("create table artifact (key text, type text)")
        database.executemany("insert into artifact values (?, ?)", [("pods", "table"), (None, "result")])
        database.commit()
    record = record_of(run, artifacts_in(home))
    assert record["steps"] == {"find-istio": "done"} and record["checks"] == {"istio.cli": "pass observe"}
    assert record["evidence"]["istio.cli"] == {"": "mapping", "sha256": "text"}
    assert record["measures"] == ["request-p50 ms loop=fast"] and record["artifacts"] == ["pods table"]
    assert {"graph-N.svg", "result.json"} < set(record["files"]) and set(record["catches"]) == {"delay"}
    assert record["applied"] == ["CustomResourceDefinition sidecars.networking.istio.io", "Namespace shop"]


def test_what_is_not_known_of_artifacts_is_not_compared(tmp_path: Path) -> None:
    assert compare(read("nightly"), {**read("nightly"), "artifacts": None}) == []


def test_an_object_of_the_cluster_that_is_new_or_gone_is_found() -> None:
    known = (RECORDS / "objects.txt").read_text().splitlines()
    assert objects_that_differ([*known, "Deployment kube-system/coredns"]) == [] and len(known) > 60
    changed = [each.replace("Service default/ratings", "Service default/stars") for each in known]
    assert objects_that_differ(changed) == [
        "objects: Service default/ratings is gone",
        "objects: Service default/stars is new",
    ]
