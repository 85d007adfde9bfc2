from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from meshlab.core.errors import KubeError
from meshlab.kube.diagnosis import dump_evidence
from tests.fakes.kube import FakeKube, make_pod


def _kube() -> FakeKube:
    pod = make_pod("web-1")
    pod["metadata"]["managedFields"] = [{"manager": "m"}]
    pod["spec"]["containers"][0]["env"] = [
        {"name": "DB_PASSWORD", "value": "hunter2"},
        {"name": "PORT", "value": "1"},
    ]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "reason": "BackOff",
        "message": "Back-off for user jane",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "involvedObject": {"kind": "Pod", "name": "web-1"},
    }
    kube = FakeKube([pod, event])
    kube.logs = {("web-1", "app", False): "now jane\n", ("web-1", "app", True): "before\n"}
    return kube


def test_objects_events_and_logs(tmp_path: Path) -> None:
    files = dump_evidence(_kube(), ["default"], tmp_path, redact=lambda text: text.replace("jane", "***"))  # type: ignore[arg-type]
    names = {str(file.relative_to(tmp_path)) for file in files}
    logs = {"default/logs/web-1.app.log", "default/logs/web-1.app.previous.log"}
    assert names == {"default/pods.yaml", "default/pods.txt", "default/events.txt", "problems.txt", *logs}
    (pod,) = yaml.safe_load_all((tmp_path / "default/pods.yaml").read_text())
    assert "managedFields" not in pod["metadata"]
    env = {e["name"]: e["value"] for e in pod["spec"]["containers"][0]["env"]}
    assert env == {"DB_PASSWORD": "<not shown>", "PORT": "1"}
    assert "Back-off for user ***" in (tmp_path / "default/events.txt").read_text()
    assert (tmp_path / "default/logs/web-1.app.log").read_text() == "now ***\n"
    assert "2/2" in (tmp_path / "default/pods.txt").read_text()


def test_what_can_not_be_read_is_listed(tmp_path: Path) -> None:
    class Down(FakeKube):
        def objects(self, *args: Any, **options: Any) -> Any:
            raise KubeError("no answer from the API server")

    files = dump_evidence(Down(), ["default"], tmp_path)  # type: ignore[arg-type]
    assert [file.name for file in files] == ["problems.txt"]
    assert "default/pods.yaml: no answer" in files[0].read_text()


def test_secrets_are_never_asked_for(tmp_path: Path) -> None:
    class NoSecrets(FakeKube):
        def objects(self, api_version: str, kind: str, *args: Any, **options: Any) -> Any:
            assert kind != "Secret"
            return super().objects(api_version, kind, *args, **options)

    dump_evidence(NoSecrets(), ["default", "istio-system"], tmp_path)  # type: ignore[arg-type]


def test_what_a_cluster_calls_a_pod_is_no_path(tmp_path: Path) -> None:
    pod = make_pod("../../../outside")
    kube = FakeKube([pod])
    kube.logs = {("../../../outside", "app", False): "written\n", ("../../../outside", "app", True): ""}
    folder = tmp_path / "a" / "b" / "c" / "evidence"
    files = dump_evidence(kube, ["default"], folder)  # type: ignore[arg-type]
    assert any(file.read_text() == "written\n" for file in files)
    assert all(file.resolve().is_relative_to(folder) for file in files)
    assert [each.name for each in (tmp_path / "a" / "b" / "c").iterdir()] == ["evidence"]
