"""`report.html`: one file that tells the whole run. Nothing in it is loaded from anywhere.

A content security policy in the file forbids every request; the only script (it unfolds what is linked to or
printed) is named in it by its hash, and without it nothing is missing.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from meshlab.core.redaction import redact
from meshlab.report.audit import PREFIX as AUDIT_PREFIX
from meshlab.report.causes import Explained, arranged, best_of
from meshlab.report.evidence import Limits
from meshlab.report.material import ReportMaterial
from meshlab.report.mesh import mesh_rows
from meshlab.report.rendering import render, source, table
from meshlab.report.sections import Drawn, Section, draw, sections_of
from meshlab.report.svg import DARK, LIGHT, standalone, variables
from meshlab.report.units import format_value

MOST_BYTES = 3_000_000  # of the report; evidence is shown more briefly until it fits
MOST_FILES = 400  # evidence files that are linked
_LIMITS = (Limits(), Limits(rows=12, text=500), Limits(rows=3, text=120))
_WORDS = {"pass": "Passed", "fail": "Failed", "error": "Not proven"}
_ORDER = ("fail", "broken", "infra-error", "skipped")  # of what is told first
_COUNTED = {"pass": "passed", "fail": "failed", "broken": "broken", "infra-error": "could not be made",
            "skipped": "skipped"}  # fmt: skip


@dataclass(frozen=True)
class Changed:
    """What differs from an earlier run.

    since: that run, "" where there is none. lines: (what, how), most telling first. worse: (badge, what) of
    measures that got worse and are so still.
    """

    since: str
    lines: tuple[tuple[str, str], ...] = ()
    worse: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Number:
    """One of the first screen's numbers. note: what it is made of."""

    label: str
    value: str
    note: str


def write_report(
    result: Mapping[str, Any],
    directory: Path,
    material: ReportMaterial | Drawn | None = None,
    sections: Iterable[Section] = (),
    changed: Changed | None = None,
) -> Path:
    """Write `report.html` and its pictures into the run's directory.

    Can run twice.

    The files of the directory are linked, so it is best written last.

    Args:
        result: The content of `result.json`, of any run that its schema allows.
        directory: The run's directory.
        material: What else there is to show, drawn or not (see `sections.draw`).
        sections: More of them, put in order by their position.
        changed: What is told on the first screen about an earlier run.

    Returns:
        The report's path.
    """
    drawn = material if isinstance(material, Drawn) else draw(material or ReportMaterial())
    pictures = directory / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for name, picture in drawn.pictures:
        (pictures / name).write_text(redact(standalone(picture)), encoding="utf-8")
    path = directory / "report.html"
    path.write_text(
        report_html(result, drawn, tuple(sections), files=evidence_files(directory), changed=changed),
        encoding="utf-8",
    )
    return path


def report_html(
    result: Mapping[str, Any],
    drawn: Drawn,
    sections: Sequence[Section] = (),
    *,
    files: Sequence[tuple[str, int]] = (),
    changed: Changed | None = None,
) -> str:
    """The report's text. files: path relative to the report, and bytes, of what it links to."""
    page = ""
    for limits in _LIMITS:
        page = _page(result, drawn, sections, files, limits, changed)
        if len(page.encode()) <= MOST_BYTES:
            break
    return redact(page)


def evidence_files(directory: Path) -> list[tuple[str, int]]:
    """Every file of the run's directory but the report, as (relative path, bytes)."""
    return [
        (path.relative_to(directory).as_posix(), path.stat().st_size)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path != directory / "report.html"
    ]


def numbers(result: Mapping[str, Any]) -> list[Number]:
    """The five numbers of the first screen: requests, success rate, p99, proxies and checks."""
    sent, ok = _total(result, "requests-sent"), _total(result, "requests-ok")
    slowest = max(_named(result, "request-p99"), key=lambda measure: measure["value"], default=None)
    proxies = result["versions"].get("istio", {}).get("data_plane", {})
    verdicts = Counter(check["verdict"] for check in result["checks"])
    skipped = verdicts["skipped"]
    made = sum(verdicts.values()) - skipped
    loads = len(_named(result, "requests-sent"))
    versions = ", ".join(sorted(proxies))
    p99 = format_value(slowest["value"], slowest["unit"]) if slowest else ""
    phase = ", ".join(f"{key} {value}" for key, value in slowest["labels"].items()) if slowest else ""
    left_out = f"{skipped} skipped" if skipped else ""
    shown = (
        ("Requests sent", loads, f"{sent:,.0f}", f"in {loads} phases" if loads > 1 else "", "not counted"),
        ("Success rate", sent, _percent(ok, sent), f"{ok:,.0f} answered 200", "no request was counted"),
        ("p99 latency", slowest, p99, phase, "not measured"),
        ("Proxies", proxies, str(sum(proxies.values())), f"Istio {versions}", "not counted"),
        (
            "Checks passed",
            made,
            f"{verdicts['pass']} of {made}",
            left_out or "none skipped",
            left_out or "none made",
        ),
    )
    return [
        Number(label, value, note) if known else Number(label, "–", missing)
        for label, known, value, note, missing in shown
    ]


def _page(
    result: Mapping[str, Any],
    drawn: Drawn,
    sections: Sequence[Section],
    files: Sequence[tuple[str, int]],
    limits: Limits,
    changed: Changed | None,
) -> str:
    verdicts = Counter(check["verdict"] for check in result["checks"])
    links = [(quote(name), name, size) for name, size in files[:MOST_FILES]]
    script = source("report.js")
    told = sorted(
        [*sections_of(result, drawn, links, len(files), limits), *sections],
        key=lambda section: section.position,
    )
    return str(
        render(
            "report.html",
            result=result,
            word=_WORDS[result["verdict"]],
            counts=", ".join(f"{verdicts[name]} {word}" for name, word in _COUNTED.items() if verdicts[name]),
            duration=_duration(result),
            numbers=numbers(result),
            not_passed=_not_passed(result),
            best=best_of(result.get("causes", ())),
            failed_steps=[step for step in result["steps"] if step["state"] == "failed"],
            own_images=_own_images(result),
            accepted=sum(
                bool(row.get("accepted"))
                for check in result["checks"]
                if check["id"].startswith(AUDIT_PREFIX)
                for row in check["evidence"].get("findings", ())
            ),
            changed=changed,
            mesh=table(mesh_rows(result.get("mesh")), "Facts of the mesh"),
            sections=told,
            style=Markup(source("report.css")),
            light=variables(LIGHT),
            dark=variables(DARK),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _not_passed(result: Mapping[str, Any]) -> list[Mapping[str, Any] | Explained]:
    """What is told on the first screen: what one object explains, the most checks first; then check by check."""
    red = (check for check in result["checks"] if check["verdict"] != "pass")

    def place(row: Mapping[str, Any] | Explained) -> tuple[int, int]:
        return (-1, -len(row.checks)) if isinstance(row, Explained) else (_ORDER.index(row["verdict"]), 0)

    return sorted(arranged(red, result.get("causes", ())), key=place)


def _own_images(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each image of our own, with the workloads that run it."""
    own: dict[str, list[str]] = {}
    for workload, entry in sorted(result["images"].items()):
        if entry["ours"]:
            own.setdefault(entry["image"], []).append(workload)
    return [(image, ", ".join(workloads)) for image, workloads in sorted(own.items())]


def _duration(result: Mapping[str, Any]) -> str:
    took = datetime.fromisoformat(result["finished"]) - datetime.fromisoformat(result["started"])
    minutes, seconds = divmod(max(0, round(took.total_seconds())), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _named(result: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [measure for measure in result["measures"] if measure["name"] == name]


def _total(result: Mapping[str, Any], name: str) -> float:
    return float(sum(measure["value"] for measure in _named(result, name)))


def _percent(part: float, whole: float) -> str:
    """A share in percent that says 100 only where nothing is missing: 99,999 of 100,000 are 99.9."""
    share = 100.0 if part == whole else min(part / whole * 100, 99.9) if whole else 0.0
    return format_value(share, "percent")
