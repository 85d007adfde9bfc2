"""What Istio is called in a cluster is a fact of the mesh: no other module names it as a value.

A value is a text without blanks: a name, a namespace, a selector, a URL, a part of one. Messages and docstrings are free.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for folder in ("meshlab", "tasks", "flows") for path in (ROOT / folder).rglob("*.py"))
NAMES = re.compile(r"cluster\.local|istio-system|(?<![\w{-])istiod(?![\w-])")
ASSUMED = {
    "SYSTEM_NAMESPACE",
    "ADDONS_NAMESPACE",
    "CLUSTER_DOMAIN",
    "TRUST_DOMAIN",
    "ISTIOD",
    "ISTIOD_SELECTOR",
}
# These own the names: what Istio and the local cluster are called where nobody chose, and where facts are read.
OWNERS = {
    "meshlab/istio/names.py": "the names themselves",
    "meshlab/istio/mesh.py": "the facts of a mesh, with Istio's own defaults",
    "meshlab/istio/facts.py": "reads them",
    "meshlab/istio/mesh_config.py": "reads the mesh's configuration",
    "meshlab/istio/control_plane.py": "finds control planes",
    "meshlab/istio/operator_file.py": "where this lab installs Istio itself",
    "meshlab/istio/install.py": "where this lab installs Istio itself",
    "meshlab/istio/revision_install.py": "where this lab installs a further revision",
    "meshlab/istio/revision.py": "which objects a revision without a name calls its own",
    "meshlab/istio/inventory.py": "what an installation of this lab brings",
    "meshlab/observability/addons/addon.py": "where Istio's samples put an addon, looked at before any other place",
    "meshlab/clusters/local/layout.py": "the local cluster's own domain, by default",
    "meshlab/config/settings.py": "a setting's default",
    "meshlab/config/settings_local.py": "a setting's default",
}
# Not yet asked of the mesh; these lists only get shorter.
NOT_YET: set[str] = set()


def assumed(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each value that names Istio's own things, and of each import of such a name."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.module and node.module.startswith("meshlab.istio."):
                yield from ((node.lineno, each.name) for each in node.names if each.name in ASSUMED)
        elif isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
            if is_value(text):
                yield node.lineno, text
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings | inside and is_value(node.value):
                yield node.lineno, node.value
        elif isinstance(node, ast.Call):
            words = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if "ConfigMap" in words and "istio" in words:
                yield node.lineno, "ConfigMap istio"


def is_value(text: str) -> bool:
    return not re.search(r"\s", text) and bool(NAMES.search(text))


def found(path: Path) -> list[tuple[int, str]]:
    return list(assumed(ast.parse(path.read_text(encoding="utf-8"))))


def test_only_their_owners_name_them() -> None:
    free = OWNERS.keys() | NOT_YET
    wrong = {
        name: lines
        for path in MODULES
        if (name := path.relative_to(ROOT).as_posix()) not in free and (lines := found(path))
    }
    assert wrong == {}, "ask the mesh: meshlab.istio.mesh.Mesh has its names"


def test_what_is_applied_and_asked_for_is_filled_in_from_the_facts() -> None:
    """Values of our YAML files; the operator file is for the Istio that this lab installs itself."""
    wrong = {
        path.relative_to(ROOT).as_posix(): texts
        for path in sorted((ROOT / "meshlab").rglob("*.yaml"))
        if path.name != "embedded-operator.yaml"
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if (texts := [each for each in texts_of(document) if is_value(each)])
    }
    assert wrong == {}


def texts_of(found: Any) -> Iterator[str]:
    """Every text in a YAML document."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, Mapping):
        for value in found.values():
            yield from texts_of(value)
    elif isinstance(found, list):
        for value in found:
            yield from texts_of(value)


def test_the_list_of_those_not_yet_done_holds_no_other() -> None:
    assert [name for name in sorted(NOT_YET) if not (ROOT / name).exists() or not found(ROOT / name)] == []


@pytest.mark.parametrize(
    "planted",
    [
        'kube.pods("istio-system")',
        'HOST = f"{name}.{namespace}.svc.cluster.local"',
        'SELECTOR = "app=istiod"',
        'deployment("istiod", home)',
        'TARGET = "istiod.mesh:15014"',
        'kube.get("v1", "ConfigMap", "istio", home)',
        "from meshlab.istio.names import SYSTEM_NAMESPACE",
        "from meshlab.istio.names import ADDONS_NAMESPACE",
        'def of(domain: str = "cluster.local"): ...',
    ],
)
def test_a_planted_one_is_found(planted: str) -> None:
    assert len(list(assumed(ast.parse(planted)))) == 1


@pytest.mark.parametrize(
    "free",
    [
        '"""istiod of istio-system, under cluster.local."""',
        'raise Error("no istiod is Ready", remedy="look at the pods of istio-system")',
        'log(f"{name} is not in istio-system")',
        'def take():\n    """istiod"""',
        'GROUPS = {"istio": 1, "istiod-stopped": 2, "istiod-ready": 3}',
    ],
)
def test_messages_and_docstrings_are_free(free: str) -> None:
    assert list(assumed(ast.parse(free))) == []
