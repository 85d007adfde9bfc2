"""Gateway API (gateway.networking.k8s.io) in a cluster: its definitions, what Istio asks of them, and its Gateways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from meshlab.core.errors import KubeError
from meshlab.istio.support import minor
from meshlab.kube.changes import RUN_LABEL
from meshlab.kube.client import Kube

GROUP = "gateway.networking.k8s.io"
API_VERSION = f"{GROUP}/v1"
VERSIONS = (API_VERSION, f"{GROUP}/v1beta1", f"{GROUP}/v1alpha2")
MODULE = "sigs.k8s.io/gateway-api"  # the Go module that has the definitions
CRD_API, CRD = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
BUNDLE = f"{GROUP}/bundle-version"  # the annotation that tells the version of Gateway API
FRONTEND = "spec.tls.frontend"  # of a Gateway: which clients it takes
CONTROLLER = "istio.io/"  # begins the name of each of Istio's controllers
ISTIO_CLASSES = ("istio", "istio-remote")  # istiod makes them; known where classes may not be read
MESH_CLASSES = (
    "istio-waypoint",
    "istio-east-west",
    "istio-agentgateway-waypoint",
)  # for the mesh's own traffic
OWN_GATEWAY = "meshlab-gateway"  # the Gateway of a run
OWN_GATEWAY_ACCOUNT = f"{OWN_GATEWAY}-{ISTIO_CLASSES[0]}"  # Istio names what it makes after Gateway and class
Object = Mapping[str, Any]
Number = tuple[int, int, int]


class Rule(BaseModel):
    """What an Istio asks of one definition, from a minor on: a version of Gateway API, or a field."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    since: str
    bundle: str = ""
    field: str = ""


class Table(BaseModel):
    """The table beside this module. names: the plural of every kind of Gateway API."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    date: str
    source: str
    names: tuple[str, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Definition:
    """A CustomResourceDefinition of Gateway API.

    name: the plural of its kind. bundle: the version of Gateway API that it is of; empty where it does not tell.
    fields: those of the table's that its objects can have. run: which run of ours made it; empty for those of others.
    """

    name: str
    bundle: str
    fields: frozenset[str] = frozenset()
    run: str = ""

    @property
    def number(self) -> Number | None:
        """The version as numbers, without what marks a candidate; None where it tells none."""
        return number_of(self.bundle)


@cache
def table() -> Table:
    """Return what Istio asks of the definitions."""
    text = resources.files(__package__).joinpath("gateway_api.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    return Table.model_validate({**content, "date": str(content["date"])})


def number_of(version: str) -> Number | None:
    """Return major, minor and patch of a version such as v1.6.0-rc.1; None where it is none."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def is_served(kube: Kube) -> bool:
    """Whether the cluster knows Gateways of Gateway API, in whatever version."""
    for version in VERSIONS:
        try:
            kube.resource(version, "Gateway")
        except KubeError as problem:
            if problem.status != 404:
                raise
        else:
            return True
    return False


def definitions(kube: Kube) -> tuple[Definition, ...]:
    """Read the definitions of Gateway API that the cluster has; none where it serves no Gateway.

    Raises KubeError, of status 403 where this account may not read definitions.
    """
    if not is_served(kube):
        return ()
    found = (kube.get(CRD_API, CRD, f"{name}.{GROUP}") for name in table().names)
    return tuple(_definition(each) for each in found if each is not None)


def _definition(found: Object) -> Definition:
    name = found["metadata"]["name"].partition(".")[0]
    wanted = {rule.field for rule in table().rules if rule.name == name and rule.field}
    schemas = [
        (version.get("schema") or {}).get("openAPIV3Schema") or {}
        for version in found["spec"]["versions"]
        if version.get("served")
    ]
    fields = frozenset(field for field in wanted if any(_has(schema, field) for schema in schemas))
    labels, notes = (found["metadata"].get(each) or {} for each in ("labels", "annotations"))
    return Definition(name, str(notes.get(BUNDLE, "")), fields, labels.get(RUN_LABEL, ""))


def _has(schema: Object, field: str) -> bool:
    for part in field.split("."):
        schema = (schema.get("properties") or {}).get(part)  # type: ignore[assignment]
        if schema is None:
            return False
    return True


def too_old(found: Iterable[Definition], istio: str) -> list[str]:
    """Say which definitions are too old for an Istio, and what becomes of their objects.

    Args:
        found: The cluster's definitions.
        istio: The version of Istio; a development version counts as its release.

    Returns:
        A sentence for each; none where all are new enough, or where the version can't be read.
    """
    mine, there = minor(istio), {each.name: each for each in found}
    problems = []
    for rule in table().rules:
        definition, since = there.get(rule.name), minor(rule.since)
        if definition is None or mine is None or since is None or mine < since:
            continue
        called = f"{rule.name}.{GROUP} (Gateway API {definition.bundle or 'of no version'})"
        needed = number_of(rule.bundle)
        if needed is not None and (definition.number or (0, 0, 0)) < needed:
            problems.append(
                f"{called} is older than {rule.bundle}: Istio {istio} passes over all objects of this kind"
            )
        if rule.field and rule.field not in definition.fields:
            problems.append(
                f"{called} has no {rule.field}, which Istio {istio} serves: the API server drops it, and the "
                "gateway takes clients without a certificate"
            )
    return problems


def validates_frontend(found: Iterable[Definition], istio: str) -> bool:
    """Whether a Gateway can say which clients it takes, by its own field: this Istio serves it, and the cluster keeps it.

    Args:
        found: The cluster's definitions.
        istio: The version of Istio.

    Returns:
        True where both hold.
    """
    [since] = [minor(rule.since) for rule in table().rules if rule.field == FRONTEND]
    mine = minor(istio)
    new_enough = mine is not None and since is not None and mine >= since
    return new_enough and any(FRONTEND in each.fields for each in found)


def outer(gateways: Iterable[Object], classes: Iterable[Object]) -> list[Object]:
    """Choose the Gateways that Istio serves to callers from outside of the mesh.

    Args:
        gateways: Gateways of Gateway API.
        classes: The cluster's GatewayClasses; none where they may not be read.

    Returns:
        Those of Istio's classes, waypoints and the like left out.
    """
    known = {
        each["metadata"]["name"]: str((each.get("spec") or {}).get("controllerName", "")) for each in classes
    } or dict.fromkeys(ISTIO_CLASSES, CONTROLLER)
    found = []
    for gateway in gateways:
        name = str((gateway.get("spec") or {}).get("gatewayClassName", ""))
        if known.get(name, "").startswith(CONTROLLER) and name not in MESH_CLASSES:
            found.append(gateway)
    return found


def standard_definitions(module: Path) -> list[dict[str, Any]]:
    """Read the definitions of the standard channel from the Go module's source.

    Args:
        module: Its folder.

    Returns:
        The CustomResourceDefinitions; without the policy that keeps older ones out, which is the cluster owner's choice.

    Raises:
        KubeError: The module has none.
    """
    folder = module / "config" / "crd" / "standard"
    # A megabyte: the loader in Python takes half a minute.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = [
        each
        for path in sorted(folder.glob("*.yaml"))
        for each in yaml.load_all(path.read_text(encoding="utf-8"), Loader=loader)
    ]
    found = [each for each in documents if each and each.get("kind") == CRD]
    if not found:
        raise KubeError(f"{folder} holds no definitions", remedy="go clean -modcache, and run again")
    return found


def versions_of(found: Sequence[Definition]) -> str:
    """Return the versions of Gateway API that definitions are of, each once, for people."""
    return ", ".join(sorted({each.bundle or "no version" for each in found}))
