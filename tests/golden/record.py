"""What a finished run has shown, without its numbers, names and times: as a record keeps it, and how two differ."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.golden.shape import Shape, differences

RECORDS = Path(__file__).parent / "records"
APART = (
    "checks",
    "steps",
    "measures",
    "catches",
    "images",
)  # parts of result.json that are compared one by one
# Names of pods and files that differ from run to run: a pod's random end, a number.
PASSING = re.compile(r"-[0-9a-f]{7,10}-[a-z0-9]{5}\b|\b[0-9a-f]{12,}\b|\d+")
KUBERNETES = re.compile(r" kube-|/kube-root-ca\.crt$")

Record = dict[str, Any]


def record_of(directory: Path, artifacts: Iterable[str] | None = None) -> Record:
    """Give what a run has shown.

    Args:
        directory: The run's directory.
        artifacts: Its artifacts in Prefect, "key type" each; None where they are not known, and not compared.
    """
    result = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    return {
        "flow": result["flow"],
        "verdict": result["verdict"],
        "keys": Shape.of({**result, **dict.fromkeys(APART)}).written(),
        "steps": {
            each["name"]: each["state"] for each in sorted(result["steps"], key=lambda step: step["name"])
        },
        "step keys": Shape.of(result["steps"]).written(),
        "checks": {each["id"]: f"{each['verdict']} {each['scope']}" for each in result["checks"]},
        "check keys": Shape.of([{**each, "evidence": None} for each in result["checks"]]).written(),
        "evidence": {each["id"]: Shape.of(each["evidence"]).written() for each in result["checks"]},
        "measures": sorted({_measure(each) for each in result["measures"]}),
        "images": Shape.of(list(result["images"].values())).written(),
        "catches": {each["fault"]: Shape.of(each).written() for each in result["catches"]},
        "applied": sorted(_applied(directory / "evidence" / "steps")),
        "artifacts": None if artifacts is None else sorted(artifacts),
        "files": sorted({_file(directory, path) for path in directory.rglob("*") if path.is_file()}),
    }


def compare(known: Record, now: Record) -> list[str]:
    """Say how a run differs from the record; empty where it does not."""
    found = list(_values("run", {key: known[key] for key in ("flow", "verdict")}, now))
    for part in ("steps", "checks"):
        found += _values(part, known[part], now[part])
    for part in ("keys", "step keys", "check keys", "images"):
        found += [f"{part}: {each}" for each in differences(Shape.read(known[part]), Shape.read(now[part]))]
    for part in ("evidence", "catches"):
        found += _shapes(part, known[part], now[part])
    for part in ("measures", "applied", "files", *(["artifacts"] if now["artifacts"] is not None else [])):
        found += _names(part, known[part], now[part])
    return found


def objects_that_differ(now: Iterable[str]) -> list[str]:
    """Say which objects of a kept lab's cluster are new or gone, "Kind namespace/name" each; Kubernetes' own are not compared."""
    known = (RECORDS / "objects.txt").read_text(encoding="utf-8").splitlines()
    return list(_names("objects", known, sorted(each for each in now if not KUBERNETES.search(each))))


def read(name: str) -> Record:
    """Read a record by its name."""
    record: Record = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    return record


def artifacts_in(prefect_home: Path) -> list[str]:
    """List the artifacts in the database of a Prefect server that served one run: "key type" each."""
    with closing(sqlite3.connect(f"file:{prefect_home / 'prefect.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("select distinct key, type from artifact where key is not null")
        return sorted(f"{key} {kind}" for key, kind in rows)


def _values(part: str, known: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name, value in known.items():
        if name not in now:
            yield f"{part}: {name} is gone"
        elif now[name] != value:
            yield f"{part}: {name} is {now[name]}, was {value}"
    if part != "run":
        yield from (f"{part}: {name} is new" for name in now if name not in known)


def _shapes(part: str, known: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in known.keys() & now.keys():  # what is new or gone is in `checks` already
        for each in differences(Shape.read(known[name]), Shape.read(now[name])):
            yield f"{part}: {name}: {each}"
    if part == "catches":
        yield from _names(part, list(known), list(now))


def _names(part: str, known: list[str], now: list[str]) -> Iterator[str]:
    yield from (f"{part}: {name} is gone" for name in known if name not in now)
    yield from (f"{part}: {name} is new" for name in now if name not in known)


def _applied(steps: Path) -> set[str]:
    """The objects that the kept results of steps name, and those of Istio that the run found before it removed them."""
    found = set()
    for path in steps.glob("*.json"):
        step = json.loads(path.read_text(encoding="utf-8"))
        found |= set(_refs(step["result"]))
        if step["step"] == "list-istio":
            found |= {
                f"{kind} {name}"
                for kind, names in step["result"].items()
                if kind[0].isupper()
                for name in names
            }
    return found


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if {"api_version", "kind", "name"} <= value.keys():
            yield f"{value['kind']} {value['namespace']}/{value['name']}".replace(" None/", " ")
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _refs(each)


def _measure(measure: Mapping[str, Any]) -> str:
    labels = ", ".join(
        f"{key}={PASSING.sub('N', str(value))}" for key, value in sorted(measure["labels"].items())
    )
    return f"{measure['name']} {measure['unit']} {labels}".rstrip()


def _file(directory: Path, path: Path) -> str:
    return PASSING.sub("N", str(path.relative_to(directory)))
