"""A shape: its objects, the settings of its night, and every check's verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
NAMESPACE = "meshlab"  # of the night's own objects


@dataclass(frozen=True)
class Shape:
    """One kind of mesh.

    Attributes:
        name: Its folder's.
        about: What it is, in a sentence.
        exit_code: Of its night.
        says: Texts that the night must print, where it ends before anything is touched.
        mesh: Fields of the mesh's configuration.
        operator: IstioOperator file of the lab that the shape needs for itself; "" where the shared lab serves.
        charts: Charts that Helm installs on a lab of the shape's own, in their order; none where istioctl installs Istio.
        facts: Facts of the mesh, as result.json has them, that the night must have read.
        local: Settings of the local cluster of that lab.
        also: IstioOperator files of further control planes.
        tags: Tag → revision; then no revision is the default.
        restart: Label selector of pods that are restarted once the fault is planted.
        gone: Namespace and label selector of pods that the fault takes away, which is awaited before pods are restarted.
        stuck: The restarted pods do not get Ready: they stay in an init container.
        freeze: Namespace and label selector of others' pods whose proxies stand still during the night.
        accepted: Rules of the audit whose findings the night accepts, whatever they are about; the mesh has such risks.
        settings: Of the night, beside those that all nights of these tests have.
        without: Objects of the lab that the mesh does not have, each as apiVersion, kind, namespace and name.
        variables: Of the night's environment.
        red: The check that the shape's planted fault must turn red.
        group: The group of checks that makes it, as tasks.mesh_checks calls it.
        expected: Check id → `pass`, or `skipped: REASON`.
    """

    name: str
    about: str
    exit_code: int = 0
    says: tuple[str, ...] = ()
    mesh: Mapping[str, Any] | None = None
    operator: str = ""
    charts: tuple[str, ...] = ()
    facts: Mapping[str, Any] | None = None
    local: Mapping[str, Any] | None = None
    also: tuple[str, ...] = ()
    tags: Mapping[str, str] | None = None
    restart: str = ""
    gone: Mapping[str, str] | None = None
    stuck: bool = False
    freeze: Mapping[str, str] | None = None
    accepted: tuple[str, ...] = ()
    settings: Mapping[str, Any] | None = None
    without: tuple[Mapping[str, str], ...] = ()
    variables: Mapping[str, str] | None = None
    red: str = ""
    group: str = ""
    expected: Mapping[str, str] | None = None

    @property
    def own_lab(self) -> bool:
        """Whether the shared lab does not serve."""
        return bool(self.operator or self.charts or self.local)

    @property
    def operator_file(self) -> Path | None:
        """The IstioOperator file of the shape's own lab."""
        return FOLDER / self.name / self.operator if self.operator else None

    @property
    def needs(self) -> tuple[Any, ...]:
        """What the shape's own lab has more: shapes that need the same can share one. Empty for the shared lab."""
        asked = sorted((self.local or {}).items())
        return (self.operator_file, tuple(asked), self.charts) if self.own_lab else ()

    def objects(
        self, file: str = "objects", nodes: Sequence[Mapping[str, str]] = (), **words: str
    ) -> list[dict[str, Any]]:
        """Read the objects of one of the shape's files, with words filled in; none where there is no such file.

        An object that names NODE_NAME is made once a node, with that node's words.

        `objects` is what the mesh has, `after` what comes once its Deployments are Ready, `changing` what comes and goes
        during the night, `fault` the planted fault.
        """
        path = FOLDER / self.name / f"{file}.yaml"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        texts = [
            filled(document, {"NAMESPACE": NAMESPACE, **words, **node})
            for document in text.split("\n---\n")
            for node in (nodes if "NODE_NAME" in document else ({},))
        ]
        return [each for each in map(yaml.safe_load, texts) if each]


def filled(text: str, words: Mapping[str, str]) -> str:
    """Put the values of words into a text."""
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def names() -> list[str]:
    """List the shapes that there are."""
    return sorted(path.parent.name for path in FOLDER.glob("*/shape.yaml"))


def read(name: str) -> Shape:
    """Read a shape's files."""
    folder = FOLDER / name
    found = yaml.safe_load((folder / "shape.yaml").read_text(encoding="utf-8"))
    expected = folder / "expected.yaml"
    listed = yaml.safe_load(expected.read_text(encoding="utf-8")) if expected.exists() else {}
    listing = {key: tuple(found.get(key, ())) for key in ("says", "charts", "accepted", "without")}
    return Shape(name=name, **{**found, **listing}, expected=listed)


def not_as_listed(shape: Shape, result: Mapping[str, Any]) -> list[str]:
    """Compare a night's checks with the list: every difference, in a line each.

    Args:
        shape: The shape.
        result: The night's result.json.

    Returns:
        Checks with another verdict, or skipped for another reason, or not listed, or not made; and facts that are others.
    """
    listed = dict(shape.expected or {})
    wrong = []
    for check in result["checks"]:
        seen = str(check["verdict"])
        if seen == "skipped":
            seen = f"skipped: {check['reason']}"
        wanted = listed.pop(check["id"], "not listed")
        if seen != wanted:
            why = f" ({check['reason']})" if check["verdict"] not in ("pass", "skipped") else ""
            wrong.append(f"{check['id']}: {seen}{why}, listed is {wanted}")
    read = result.get("mesh") or {}
    wrong += [
        f"fact {name}: {read.get(name)}, listed is {wanted}"
        for name, wanted in (shape.facts or {}).items()
        if read.get(name) != wanted
    ]
    return wrong + [f"{check}: not made, listed is {wanted}" for check, wanted in listed.items()]
