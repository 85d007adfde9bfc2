"""Nights are measured while the mesh grows; each check has its time, its calls of the API and its memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import growth, kept
from benchmarks.commands import Bench
from meshlab.core.errors import MeshlabError
from meshlab.core.process import Completed
from tests.fakes.kube import FakeKube
from tests.fakes.programs import Call, FakePrograms
from tests.unit.benchmarks.test_steps import BASELINE

CHECK = "cluster.nodes-ready"


class Watched(FakePrograms):
    """A night under watch leaves the baseline's run, and the notes of one call."""

    def answer(self, call: Call) -> Completed:
        assert call.words[1:3] == ("-m", "benchmarks.watched") and call.words[4] == "flows.nightly"
        Path(call.words[3]).write_text('[1.0, "call", "GET /api/v1/pods"]\n')
        shutil.copytree(BASELINE, Path(call.words[call.words.index("--runs-dir") + 1]) / "a-run")
        return Completed(call.words, 0, "", "", 0.1)


def check_event() -> dict[str, Any]:
    lines = (BASELINE / "evidence" / "journal.jsonl").read_text().splitlines()
    return next(event for event in map(json.loads, lines) if event.get("id") == CHECK)


def test_a_check_has_the_calls_and_the_memory_of_its_time(tmp_path: Path) -> None:
    event = check_event()
    ended = datetime.fromisoformat(event["at"]).timestamp()
    began = ended - event["seconds"]
    notes = [
        [began - 60, "call", "GET /version"],
        [began + 0.01, "call", "GET /api/v1/nodes"],
        [began + 0.01, "memory", 120_000_000],
        [began + 0.02, "call", "GET /api/v1/nodes"],
        [ended + 60, "memory", 900_000_000],
    ]
    (tmp_path / "notes").write_text("".join(json.dumps(each) + "\n" for each in notes))
    night = growth.read_night(BASELINE, tmp_path / "notes", 131.2)
    assert (night.seconds, night.calls) == (131.2, 3)
    cost = night.checks[CHECK]
    assert (cost.seconds, cost.calls, cost.memory_mb) == (event["seconds"], 2, 120.0)


@pytest.mark.parametrize("notes", [None, "[1.0, "])
def test_a_night_without_notes_is_told(tmp_path: Path, notes: str | None) -> None:
    if notes is not None:
        (tmp_path / "notes").write_text(notes)
    with pytest.raises(MeshlabError):
        growth.read_night(BASELINE, tmp_path / "notes", 1.0)


def test_the_services_are_distinct_and_each_has_endpoints() -> None:
    made = growth.services(300)
    services = {each["metadata"]["name"] for each in made if each["kind"] == "Service"}
    slices = [each for each in made if each["kind"] == "EndpointSlice"]
    assert len(services) == len(slices) == 300
    assert {each["metadata"]["labels"]["kubernetes.io/service-name"] for each in slices} == services
    assert all(len(each["endpoints"]) == 2 for each in slices)
    assert all("selector" not in each["spec"] for each in made if each["kind"] == "Service")


def test_the_mesh_grows_between_nights_and_shrinks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    lab = SimpleNamespace(kube=kube, images=(), distribution=None, night=("--kubeconfig", "kc"))

    @contextmanager
    def kept_lab(bench: Bench, name: str, *more: str) -> Iterator[Any]:
        assert "local.inotify_instances=4096" in more
        yield lab

    sample = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sleep"}}
    monkeypatch.setattr(kept, "lab", kept_lab)
    monkeypatch.setattr(growth.bookinfo, "manifests", lambda _: [sample])
    monkeypatch.setattr(growth, "wait_deployments", lambda *_, **__: ())
    there: list[int] = []

    class Looking(Watched):
        def answer(self, call: Call) -> Completed:
            there.append(len(kube.objects("v1", "Namespace")))
            return super().answer(call)

    (tmp_path / "bench" / "prefect").mkdir(parents=True)
    (tmp_path / "bench" / "prefect" / "prefect.db").touch()
    found = growth.growth(Bench(Looking(), tmp_path / "bench", 2))
    assert there == [0, 3, 9, 1] * 2, "the kept lab's own copy is the first"
    assert not kube.objects("v1", "Namespace")
    assert len(found.ratios["growth_10_copies"]) == len(found.ratios["nightly_300_services"]) == 2
    assert set(found.runs["nights"]) == {"1 copies", "4 copies", "10 copies", "300 services"}


def test_the_table_has_the_checks_that_grew_most() -> None:
    def night(seconds: float, slow: float) -> dict[str, Any]:
        costs = {"a.slow": slow, "b.even": 1.0}
        return {
            "seconds": seconds,
            "calls": 7,
            "checks": {name: {"seconds": s, "calls": 3, "memory_mb": 150.0} for name, s in costs.items()},
        }

    lines = growth.growth_table({"1 copies": [night(100, 1)], "10 copies": [night(180, 9), night(190, 8)]})
    assert "| a night, s | 100 | 190 |" in lines
    checks = [line for line in lines if "`" in line]
    assert checks[0].startswith("| `a.slow` | 1.00 s, 3 calls, 150 MB | 8.00 s")
    assert checks[1].startswith("| `b.even` |")
    assert lines[-1].endswith(": none.")


def test_meshes_stand_in_the_order_of_their_size() -> None:
    """The record is sorted by letters."""
    assert growth.in_order(["1 copies", "10 copies", "300 services", "4 copies"]) == [
        "1 copies", "4 copies", "10 copies", "300 services",
    ]  # fmt: skip


def test_a_check_that_grows_faster_than_the_mesh_is_named() -> None:
    few = {
        "a.one": {"seconds": 0.01, "calls": 5, "memory_mb": 100.0},
        "b.gone": {"seconds": 1, "calls": 1, "memory_mb": 9.0},
    }
    many = {"a.one": {"seconds": 0.9, "calls": 60, "memory_mb": 300.0}}
    assert growth.grown_faster(few, many, 10) == ["`a.one` (calls 12)"]
