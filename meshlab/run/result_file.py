"""`result.json` and `junit.xml`, made from a run's journal.

The JSON Schema beside this module is the contract.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, cast

from meshlab.core.files import write_atomically
from meshlab.core.redaction import scrub
from meshlab.run.journal import RunRef, fail_step, noted_signal, now, read_journal, since_resumed
from meshlab.run.junit import junit_xml
from meshlab.run.results import CheckResult, StepRecord, Verdict, exit_code, settle_skips, verdict_of

WRITE_STEP = "write-result"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `result.json`."""
    text = resources.files("meshlab").joinpath("result.schema.json").read_text(encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))


def finish(
    run: RunRef, *, optional: Iterable[str] = (), signum: int | None = None
) -> tuple[int, dict[str, Any]]:
    """Write `result.json` and `junit.xml`.

    Can run twice.

    A directory that can't be written is a failed step of what is returned, never an exception: what comes
    after the result still has to be done.

    Args:
        run: The run.
        optional: Checks that may be skipped where they can't be made.
        signum: The signal that ended the run, if one did.

    Returns:
        The exit code and what was written.
    """
    try:
        scrub(run.directory)
        result, code = summarise(run, optional=optional, signum=signum)
        write_atomically(
            run.directory / "result.json", json.dumps(result, indent=1, allow_nan=False) + "\n", durable=True
        )
        write_atomically(run.directory / "junit.xml", junit_xml(result), durable=True)
    except OSError as problem:
        fail_step(run, WRITE_STEP, f"{run.directory} can't be written: {problem.strerror or problem}")
        result, code = summarise(run, optional=optional, signum=signum)
    return code, result


def summarise(run: RunRef, *, optional: Iterable[str], signum: int | None) -> tuple[dict[str, Any], int]:
    """Make `result.json`'s content and the exit code from the journal.

    Args:
        run: The run.
        optional: Checks that may be skipped where they can't be made.
        signum: The signal that ended the run, if the caller knows of one; else the journal tells.

    Returns:
        The content and the exit code.
    """
    events = read_journal(run)
    signum = signum or noted_signal(run)
    steps = _steps(events)
    checks = settle_skips(_checks(events), optional)
    facts: dict[str, Any] = {}
    for event in events:
        if event["event"] == "facts":
            for whole in {"mesh", "load"} & event["facts"].keys():
                facts.pop(whole, None)  # the last reading as a whole: parts of two make no mesh
            _merge(facts, event["facts"])
    code = exit_code(checks, steps, signum)
    return {
        "schema": 1,
        "run_id": run.run_id,
        "flow": run.flow,
        "verdict": verdict_of(code),
        "started": run.started,
        "finished": now(),
        "cluster": {"provider": None, "name": None, "nodes": 0, **facts.get("cluster", {})},
        "distribution": facts.get("distribution"),
        "images": facts.get("images", {}),
        "versions": facts.get("versions", {}),
        **({"mesh": facts["mesh"]} if "mesh" in facts else {}),
        "steps": [vars(step) for step in steps],
        "checks": [check.as_json() for check in checks],
        "measures": _measures(events),
        **({"load": facts["load"]} if "load" in facts else {}),
        "catches": [_without(event, "at", "event") for event in events if event["event"] == "catch"],
        **({"links": facts["links"]} if facts.get("links") else {}),
        **({"published": facts["published"]} if facts.get("published") else {}),
        **_causes(events, {check.id for check in checks if check.verdict is Verdict.FAIL}),
        **_unpublished(events),
    }, code


def _steps(events: list[dict[str, Any]]) -> list[StepRecord]:
    """The last state of each step, in the order of their beginnings.

    What never ended was cut off, which is a failure. A run that goes on is judged by what it made of what was not
    done before: that counts only where it comes to it again.
    """
    last: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["event"] == "step":
            last[event["name"]] = {**last.get(event["name"], {}), **event}
        elif event["event"] == "resumed":
            last = {name: each if each.get("state") == "done" else {} for name, each in last.items()}
    found = []
    for name, event in last.items():
        if not event:
            continue
        state, reason = event["state"], event.get("reason")
        if state == "started":
            state, reason = "failed", "the run ended while this step was under way"
        found.append(
            StepRecord(name, state, float(event.get("seconds", 0.0)), int(event["attempts"]), reason)
        )
    return found


def _checks(events: list[dict[str, Any]]) -> list[CheckResult]:
    last = {event["id"]: event for event in events if event["event"] == "check"}
    known = CheckResult.__dataclass_fields__
    return [
        CheckResult(
            **{**{name: each[name] for name in known if name in each}, "verdict": Verdict(each["verdict"])}
        )
        for each in last.values()
    ]


def _measures(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each measure once: what a step that was run again has measured counts."""
    measures = [_without(event, "at", "event") for event in events if event["event"] == "measure"]
    last = {json.dumps([each["name"], each["labels"]], sort_keys=True): each for each in measures}
    return list(last.values())


def _causes(events: list[dict[str, Any]], red: set[str]) -> dict[str, list[dict[str, Any]]]:
    """The objects that explain the checks that are red at the end, best first; the key is absent without."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event["event"] == "causes":
            for check in event["checks"]:
                found[check] = [cause for cause in event["causes"] if cause["check"] == check]
    causes = [cause for check, named in found.items() if check in red for cause in named]
    return {"causes": causes} if causes else {}


def _unpublished(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Artifacts that Prefect's server never took, since the run began or was taken up again; the key is absent without."""
    lost = [_without(each, "at", "event") for each in since_resumed(events) if each["event"] == "unpublished"]
    return {"unpublished": lost} if lost else {}


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in names}
