"""JUnit XML, for CI systems: one test case per check and per step."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

TAGS = {"fail": "failure", "broken": "error", "infra-error": "error", "skipped": "skipped"}
_NOT_XML = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
)  # characters that XML 1.0 can't hold


def junit_xml(result: Mapping[str, Any]) -> str:
    """`junit.xml`'s text from the content of `result.json`.

    fail becomes a failure, broken and infra-error become errors, skipped is skipped; a failed step is an
    error.
    """
    cases = [*map(_check_case, result["checks"]), *map(_step_case, result["steps"])]
    suite = ET.Element(
        "testsuite",
        name=str(result["flow"]),
        timestamp=str(result["started"]),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        time=f"{sum(float(case.get('time', '0')) for case in cases):.3f}",
    )
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _check_case(check: Mapping[str, Any]) -> ET.Element:
    family, _, name = check["id"].partition(".")
    case = ET.Element(
        "testcase", classname=f"checks.{family}", name=name or family, time=f"{check['seconds']:.3f}"
    )
    tag = TAGS.get(check["verdict"])
    if tag:
        said = _clean(check["reason"] or check["summary"])
        note = ET.SubElement(case, tag, message=said, type=check["verdict"])
        if check["remedy"]:
            note.text = _clean(f"remedy: {check['remedy']}")
    ET.SubElement(case, "system-out").text = _clean(
        f"{check['summary']}\n{json.dumps(check['evidence'], indent=1, default=str)[:20000]}"
    )
    return case


def _step_case(step: Mapping[str, Any]) -> ET.Element:
    case = ET.Element("testcase", classname="steps", name=_clean(step["name"]), time=f"{step['seconds']:.3f}")
    if step["state"] == "failed":
        ET.SubElement(case, "error", message=_clean(step["reason"] or "failed"), type="step")
    elif step["state"] == "skipped":
        ET.SubElement(case, "skipped", message=_clean(step["reason"] or ""))
    return case


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)
