from xml.etree import ElementTree as ET

from meshlab.run.junit import junit_xml

CHECK = {
    "id": "a.b",
    "verdict": "pass",
    "seconds": 0.5,
    "summary": "3 of 3",
    "reason": None,
    "remedy": None,
    "evidence": {"n": 3},
}
EMPTY = {"flow": "full-lab", "started": "2026-01-02T03:04:05.000Z", "checks": [], "steps": []}


def test_an_empty_run_is_still_a_report() -> None:
    suite = ET.fromstring(junit_xml(EMPTY)).find("testsuite")
    assert suite is not None
    assert (suite.get("name"), suite.get("tests"), suite.get("time")) == ("full-lab", "0", "0.000")


def test_times_add_up_and_evidence_is_kept() -> None:
    step = {"name": "cluster", "state": "done", "seconds": 4.25, "reason": None}
    suite = ET.fromstring(junit_xml({**EMPTY, "checks": [CHECK], "steps": [step]})).find("testsuite")
    assert suite is not None
    assert suite.get("time") == "4.750"
    assert suite.findtext("testcase/system-out") == '3 of 3\n{\n "n": 3\n}'


def test_what_xml_can_not_hold_is_replaced_wherever_it_stands() -> None:
    bad = "\x00\x1b\ud800\ufffe"
    check = {
        **CHECK,
        "verdict": "infra-error",
        "summary": f"s{bad}",
        "reason": f"r{bad}",
        "remedy": f"m{bad}",
        "evidence": {"e": bad},
    }
    step = {"name": f"n{bad}", "state": "failed", "seconds": 1.0, "reason": f"r{bad}"}
    text = junit_xml({**EMPTY, "checks": [check], "steps": [step]})
    text.encode("utf-8")
    root = ET.fromstring(text)
    assert [error.get("message") for error in root.iter("error")] == ["r????", "r????"]
    assert root.findall("testsuite/testcase")[1].get("name") == "n????"


def test_evidence_without_end_is_cut() -> None:
    text = junit_xml({**EMPTY, "checks": [{**CHECK, "evidence": {"log": "x" * 1_000_000}}]})
    assert len(text) < 25_000
