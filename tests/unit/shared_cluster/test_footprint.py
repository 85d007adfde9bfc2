"""What a run has changed on a cluster that is not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshlab.checks.base import passed
from meshlab.checks.footprint import unchanged
from meshlab.core.errors import KubeError
from meshlab.run.results import CheckResult, Verdict
from meshlab.shared_cluster.footprint import footprint, footprint_before, keep_footprint
from tests.fakes.kube import FakeKube


def config_map(name: str, namespace: str = "theirs", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


class Watched(FakeKube):
    def objects(self, api_version: str, kind: str, *args: Any, **options: Any) -> list[dict[str, Any]]:
        assert kind != "Secret", "a Secret was read"
        if kind == "NetworkPolicy":
            raise KubeError("forbidden", status=403)
        return super().objects(api_version, kind, *args, **options)


def after(tmp_path: Path, kube: Watched) -> CheckResult:
    return unchanged(passed("teardown.nothing-left", "7 objects gone"), tmp_path, kube, "shop")  # type: ignore[arg-type]


def test_nothing_changed(tmp_path: Path) -> None:
    kube = Watched([config_map("a"), config_map("b", "shop")])
    keep_footprint(tmp_path, footprint(kube))  # type: ignore[arg-type]
    check = after(tmp_path, kube)
    assert check.verdict is Verdict.PASS and check.summary == "7 objects gone; 2 objects as before"


def test_a_namespace_that_the_run_made_was_not_there_before(tmp_path: Path) -> None:
    labels = {"meshlab/run": "run-1"}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}
    kube = Watched([config_map("a"), config_map("b", "shop"), made])
    assert list(footprint_before(kube, "shop", "run-1")) == ["ConfigMap theirs/a"]  # type: ignore[arg-type]
    assert len(footprint_before(kube, "shop", "run-2")) == 3  # type: ignore[arg-type]


def test_a_change_in_our_namespace_fails(tmp_path: Path) -> None:
    kube = Watched([config_map("a")])
    keep_footprint(tmp_path, footprint(kube))  # type: ignore[arg-type]
    kube.put(config_map("left", "shop"))
    check = after(tmp_path, kube)
    assert check.verdict is Verdict.FAIL and "ConfigMap shop/left" in (check.reason or "")


def test_a_change_elsewhere_is_named(tmp_path: Path) -> None:
    kube = Watched([config_map("a", x="1")])
    keep_footprint(tmp_path, footprint(kube))  # type: ignore[arg-type]
    kube.put(config_map("a", x="2"))
    check = after(tmp_path, kube)
    assert check.verdict is Verdict.PASS
    assert check.evidence["objects"] == 1
    [changed] = check.evidence["changed_elsewhere"]
    assert changed.startswith("ConfigMap theirs/a ") and changed in check.summary


def test_without_an_inventory_the_check_stands_as_it_is(tmp_path: Path) -> None:
    check = passed("teardown.nothing-left", "7 objects gone")
    assert unchanged(check, tmp_path, Watched(), "shop") is check  # type: ignore[arg-type]
