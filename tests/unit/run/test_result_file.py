import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from meshlab.core.files import write_atomically
from meshlab.istio.mesh import Mesh
from meshlab.run.journal import (
    RunRef,
    create,
    fail_step,
    record,
    record_check,
    record_facts,
    record_measures,
    skip_step,
    step,
)
from meshlab.run.result_file import finish, schema
from meshlab.run.results import CheckResult, Measure, Verdict
from tests.unit.run.test_journal import no_room_beyond


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path, "full-lab")


def check(run: RunRef, name: str, verdict: str = "pass", **more) -> None:
    record_check(
        run, CheckResult(name, f"Title of {name}", Verdict(verdict), **{"summary": "3 seen", **more})
    )


def written(run: RunRef) -> dict[str, Any]:
    """result.json, held to its schema."""
    result = json.loads((run.directory / "result.json").read_text())
    validator = jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.FormatChecker())
    validator.validate(result)
    return result


def whole_run(run: RunRef) -> None:
    record_facts(run, cluster={"provider": "local", "name": "meshlab", "nodes": 3}, distribution="embedded")
    record_facts(run, versions={"kubernetes": "v1.36.2", "istio": {"client": "1.31.0"}})
    record_facts(run, versions={"istio": {"control_plane": "1.31.0", "data_plane": {"1.31.0": 9}}})
    record_facts(run, images={"reviews-v1": {"image": "example/reviews:1", "ours": True}})
    with step(run, "cluster"):
        pass
    skip_step(run, "uninstall", "--keep")
    check(run, "cluster.nodes-ready", evidence={"nodes": ["a", "b", "c"]}, seconds=0.12345)
    record_measures(run, Measure("request-p99", 12.1, "ms", {"loop": "fast"}))
    record(run, {
        "event": "catch", "fault": "permissive", "must": ["mtls.refusal"], "may": [], "red": ["mtls.refusal"],
        "restored": True,
    })  # fmt: skip


def test_a_whole_run_is_what_the_schema_promises(run: RunRef) -> None:
    whole_run(run)
    code, result = finish(run)
    assert code == 0
    assert result == written(run)
    assert (result["verdict"], result["run_id"], result["started"]) == ("pass", run.run_id, run.started)
    assert result["cluster"] == {"provider": "local", "name": "meshlab", "nodes": 3}
    assert result["versions"] == {
        "kubernetes": "v1.36.2",
        "istio": {"client": "1.31.0", "control_plane": "1.31.0", "data_plane": {"1.31.0": 9}},
    }
    assert [(each["name"], each["state"], each["reason"]) for each in result["steps"]] == [
        ("cluster", "done", None),
        ("uninstall", "skipped", "--keep"),
    ]
    assert result["checks"][0]["seconds"] == 0.123
    assert result["measures"] == [
        {"name": "request-p99", "value": 12.1, "unit": "ms", "labels": {"loop": "fast"}}
    ]
    assert result["catches"][0]["restored"] is True


def test_finishing_twice_is_fine(run: RunRef) -> None:
    whole_run(run)
    finish(run)
    code, _ = finish(run)
    assert code == 0
    assert written(run)["verdict"] == "pass"
    assert sorted(path.name for path in run.directory.iterdir()) == [
        "evidence",
        "junit.xml",
        "pictures",
        "result.json",
    ]


def test_a_run_that_crashed_at_once_is_an_error_that_can_be_read(run: RunRef) -> None:
    code, _ = finish(run)
    assert code == 3
    result = written(run)
    assert (result["verdict"], result["checks"], result["steps"]) == ("error", [], [])
    assert result["cluster"] == {"provider": None, "name": None, "nodes": 0}


def test_a_cluster_of_which_little_is_known_still_fits_the_schema(run: RunRef) -> None:
    record_facts(run, cluster={"provider": "existing"})
    finish(run)
    assert written(run)["cluster"] == {"provider": "existing", "name": None, "nodes": 0}


def test_a_step_that_never_ended_failed(run: RunRef) -> None:
    check(run, "cluster.nodes-ready")
    record(run, {"event": "step", "name": "install-istio", "state": "started", "attempts": 1})
    with run.journal.open("a") as sink:
        sink.write('{"event":"step","name":"install-istio","state":"do')  # killed while it wrote this
    code, _ = finish(run)
    assert code == 3
    [cut] = written(run)["steps"]
    assert cut["state"] == "failed" and cut["reason"]


def test_the_last_attempt_of_a_step_counts_in_the_place_of_the_first(run: RunRef) -> None:
    check(run, "cluster.nodes-ready")
    with pytest.raises(OSError), step(run, "install-istio"):
        raise OSError("no answer")
    with step(run, "bookinfo"):
        pass
    with step(run, "install-istio", attempt=2):
        pass
    code, _ = finish(run)
    assert code == 0
    assert [
        (each["name"], each["state"], each["attempts"], each["reason"]) for each in written(run)["steps"]
    ] == [
        ("install-istio", "done", 2, None),
        ("bookinfo", "done", 1, None),
    ]


def test_the_last_answer_of_a_check_counts(run: RunRef) -> None:
    check(run, "mtls.refusal", "fail", summary="answered", reason="plaintext got a 200")
    check(run, "cluster.nodes-ready")
    check(run, "mtls.refusal", summary="refused 3 of 3")
    code, _ = finish(run)
    assert code == 0
    assert [(each["id"], each["verdict"]) for each in written(run)["checks"]] == [
        ("mtls.refusal", "pass"),
        ("cluster.nodes-ready", "pass"),
    ]


def test_skips_are_settled_and_keep_their_reason(run: RunRef) -> None:
    check(run, "cluster.nodes-ready")
    check(run, "kiali.graph", "skipped", summary="skipped", reason="no Kiali here")
    check(run, "teardown.nothing-left", "skipped", summary="skipped", reason="--keep", asked_for=True)
    code, _ = finish(run, optional=["kiali.graph"])
    assert code == 0
    code, _ = finish(run)
    assert code == 3
    assert {each["id"]: each["verdict"] for each in written(run)["checks"]} == {
        "cluster.nodes-ready": "pass",
        "kiali.graph": "infra-error",
        "teardown.nothing-left": "skipped",
    }
    assert written(run)["checks"][1]["reason"] == "no Kiali here"


def test_a_signal_is_the_exit_code_whatever_else_happened(run: RunRef) -> None:
    check(run, "mtls.refusal", "fail")
    code, _ = finish(run, signum=15)
    assert code == 143
    assert written(run)["verdict"] == "error"


def test_junit_holds_every_check_and_step_and_counts_them(run: RunRef) -> None:
    check(run, "cluster.nodes-ready", seconds=0.25)
    check(run, "mtls.refusal", "fail", reason="a 200 & <html>", remedy="set STRICT")
    check(run, "mtls.packets", "broken", reason="no marker on lo")
    check(run, "istio.cli", "infra-error", reason="bytes \x00\x1b[31m\udcff in it")
    check(run, "kiali.graph", "skipped", reason="no Kiali", asked_for=True)
    with pytest.raises(OSError), step(run, "install-istio"):
        raise OSError("no answer \x07")
    skip_step(run, "uninstall", "--keep")
    finish(run)
    suite = ET.fromstring((run.directory / "junit.xml").read_text()).find("testsuite")
    assert suite is not None
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "7", "failures": "1", "errors": "3", "skipped": "2"}
    cases = {f"{case.get('classname')}.{case.get('name')}": case for case in suite.iter("testcase")}
    assert cases["checks.cluster.nodes-ready"].get("time") == "0.250"
    failure = cases["checks.mtls.refusal"].find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.text) == ("a 200 & <html>", "remedy: set STRICT")
    error = cases["checks.istio.cli"].find("error")
    assert error is not None
    assert (error.get("message"), error.get("type")) == ("bytes ??[31m? in it", "infra-error")
    assert cases["steps.install-istio"].find("error").get("message") == "no answer ?"  # type: ignore[union-attr]
    assert cases["steps.uninstall"].find("skipped").get("message") == "--keep"  # type: ignore[union-attr]


def test_the_schema_is_one_and_refuses_what_proves_nothing(run: RunRef) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    check(run, "cluster.nodes-ready", summary="all is well")  # a pass without a number
    finish(run)
    with pytest.raises(jsonschema.ValidationError, match="all is well"):
        written(run)


def test_a_file_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    write_atomically(path, "new ü", mode=0o600)
    assert path.read_text(encoding="utf-8") == "new ü"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_failed_step_of_what_is_returned(run: RunRef) -> None:
    check(run, "a.one")
    with no_room_beyond(100):
        code, result = finish(run)
    assert code == 3
    assert result["steps"][-1]["name"] == "write-result" and "File too large" in result["steps"][-1]["reason"]
    assert not (run.directory / "result.json").exists()


def test_a_run_that_goes_on_is_judged_by_what_it_made_of_what_was_not_done(run: RunRef) -> None:
    check(run, "cluster.nodes-ready")
    with step(run, "cluster"):
        pass
    record(run, {"event": "step", "name": "install-istio", "state": "started", "attempts": 1})
    fail_step(run, "flow", "the run's process was told to exit")
    assert finish(run)[0] == 3
    record(run, {"event": "resumed", "from": None, "finished": ["cluster"]})
    with step(run, "bookinfo"):
        pass
    with step(run, "install-istio"):
        pass
    assert finish(run)[0] == 0
    assert [(each["name"], each["state"]) for each in written(run)["steps"]] == [
        ("cluster", "done"),
        ("install-istio", "done"),
        ("bookinfo", "done"),
    ]


def test_what_a_step_that_was_run_again_measured_is_there_once(run: RunRef) -> None:
    for sent in (40, 61):
        record_measures(run, Measure("requests-sent", sent, "requests", {"loop": "fast"}))
    record_measures(run, Measure("requests-sent", 12, "requests", {"loop": "gentle"}))
    measures = finish(run)[1]["measures"]
    assert [(each["labels"]["loop"], each["value"]) for each in measures] == [("fast", 61), ("gentle", 12)]


def test_the_facts_of_the_mesh_are_the_last_reading_as_a_whole(run: RunRef) -> None:
    finish(run)
    assert "mesh" not in written(run), "a run that did not come to read them"
    record_facts(run, mesh=Mesh("shop", unknown={"tags": "forbidden"}).as_json())
    record_facts(run, mesh=Mesh("shop", trust_domain="corp.example").as_json())
    finish(run)
    mesh = written(run)["mesh"]
    assert (mesh["trust_domain"], mesh["unknown"]) == ("corp.example", {})


def test_causes_of_checks_that_are_red_at_the_end_stand_in_the_result(run: RunRef) -> None:
    cause = {"object": "VirtualService shop/slow", "change": "", "why": "delays requests: for 0.5s"}
    for name, verdict in (("app.productpage", "fail"), ("graph.edges", "fail"), ("istio.analyze", "fail")):
        check(run, name, verdict)
    record(run, {"event": "causes", "checks": ["app.productpage", "istio.analyze"], "causes": [
        {"check": "app.productpage", **cause}, {"check": "istio.analyze", **cause},
    ]})  # fmt: skip
    check(run, "istio.analyze", "pass")  # made again by a run that went on
    finish(run)
    assert written(run)["causes"] == [{"check": "app.productpage", **cause}]
