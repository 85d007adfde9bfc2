"""The lab as a user meets it: one whole run that is kept, then one that adopts it, proves it again, and takes it down."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from meshlab.checks.base import owed
from meshlab.config.settings import LabConfig, Machine
from meshlab.kube import fingerprint
from meshlab.kube.client import Kube
from meshlab.run.result_file import schema
from tests.golden.record import objects_that_differ
from tests.live.conftest import NAME, Ran, differs

pytestmark = pytest.mark.live
TOKEN = re.compile(r"\beyJ[\w-]{16,}\.eyJ[\w-]{16,}\.")  # of a JSON Web Token, its header and claims
KEPT = {"uninstall.nothing-left", "teardown.nothing-left"}


def test_every_check_passes_on_the_kept_lab(kept_lab: Ran) -> None:
    assert kept_lab.code == 0, kept_lab.output[-6000:]
    verdicts = {check["id"]: check["verdict"] for check in kept_lab.result["checks"]}
    expected = {check_id: "skipped" if check_id in KEPT else "pass" for check_id in owed(LabConfig())}
    optional = {check_id for check_id in ("kiali.graph",) if verdicts.get(check_id) == "skipped"}
    assert {k: v for k, v in verdicts.items() if k not in optional} == {
        k: v for k, v in expected.items() if k not in optional
    }


def test_the_run_shows_what_the_baseline_showed(kept_lab: Ran) -> None:
    assert kept_lab.directory is not None
    assert differs("full-lab-kept", kept_lab.directory) == []


def test_the_cluster_has_the_objects_that_the_baseline_had(kept_lab: Ran, machine: Machine) -> None:
    kube = Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)
    assert objects_that_differ(fingerprint.take(kube)) == []


def test_the_result_keeps_its_contract(kept_lab: Ran) -> None:
    result = kept_lab.result
    jsonschema.validate(result, schema(), format_checker=jsonschema.FormatChecker())
    assert result["verdict"] == "pass" and result["flow"] == "full-lab"
    assert result["cluster"] == {"provider": "local", "name": NAME, "nodes": 3}
    assert result["distribution"] == "embedded"
    assert set(result["images"]) >= {
        "productpage-v1",
        "details-v1",
        "reviews-v1",
        "reviews-v2",
        "reviews-v3",
        "ratings-v1",
    }
    assert all(entry["ours"] for entry in result["images"].values())
    istio = result["versions"]["istio"]
    assert istio["client"] == istio["control_plane"]
    assert istio["data_plane"] == {istio["client"]: 10}  # seven workloads, the echo and two gateways


def test_counted_is_sent(kept_lab: Ran) -> None:
    check = kept_lab.check("prometheus.reconcile")
    sent = sum(m["value"] for m in kept_lab.result["measures"] if m["name"] == "requests-sent")
    assert sent >= 40
    assert sum(check["evidence"]["sent"].values()) == sent
    by_code = {row["response_code"]: row for row in check["evidence"]["by_code"]}
    assert by_code["200"]["source"] == by_code["200"]["sent"] == sent


def test_the_rate_is_the_one_that_prometheus_can_see(kept_lab: Ran) -> None:
    rows = kept_lab.check("prometheus.rate-5m")["evidence"]["series"]
    assert len(rows) >= 2
    for row in rows:
        assert row["answer"] == pytest.approx(row["expected"], rel=0.10)


def test_every_request_is_a_line_of_evidence(kept_lab: Ran) -> None:
    assert kept_lab.directory is not None
    lines = 0
    for pace in ("fast", "gentle"):
        lines += len((kept_lab.directory / "evidence" / f"requests-{pace}.csv").read_text().splitlines()) - 1
    assert lines == sum(m["value"] for m in kept_lab.result["measures"] if m["name"] == "requests-sent")


def test_the_run_directory_is_whole(kept_lab: Ran) -> None:
    assert kept_lab.directory is not None
    suite = ET.parse(kept_lab.directory / "junit.xml").getroot()[0]
    assert int(suite.get("tests", "0")) == len(kept_lab.result["checks"]) + len(kept_lab.result["steps"])
    assert suite.get("failures") == suite.get("errors") == "0"
    assert (kept_lab.directory / "evidence" / "journal.jsonl").stat().st_size > 0


def test_no_key_or_token_is_in_the_run_directory(kept_lab: Ran) -> None:
    assert kept_lab.directory is not None
    for path in kept_lab.directory.rglob("*"):
        if path.is_file():
            text = path.read_text(errors="replace")
            assert "PRIVATE KEY" not in text, path
            assert "client-key-data" not in text, path
            assert not TOKEN.search(text), path


def test_the_terminal_tells_the_story(kept_lab: Ran) -> None:
    for words in (
        "start-cluster",
        "install-istio",
        "deploy-bookinfo",
        "reconcile",
        "verdict: pass",
        "make down",
    ):
        assert words in kept_lab.output
