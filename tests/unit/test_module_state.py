"""No module keeps the state of a run: what is assigned or changed at run time is found by reading the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.unit.test_layers import MODULES, WORKLOADS, name_of, tree

MUTATORS = {
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "insert", "pop", "popleft",
    "popitem", "put", "remove", "set", "setdefault", "sort", "update",
}  # fmt: skip
CACHES = {"cache", "lru_cache", "cached"}
# module: name → why it is the process's, and no run's.
ALLOWED = {
    "meshlab/core/registry.py: _instances": "the one registry: what lives as long as a run does in this process",
    "meshlab/core/signals.py: _noted": "signals reach the process, not a run",
    "meshlab/core/redaction.py: _values": "the same",
    "meshlab/core/redaction.py: _known": "secrets that are known must be withheld from every run's output",
}


def state(path: Path) -> Iterator[str]:
    """Names of module-level variables that functions of the module assign or change, and functions that remember answers."""
    module = tree(path)
    top = {
        target.id
        for node in module.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for function in ast.walk(module):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield from node.names
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
                yield from _named(node.value, top)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in MUTATORS
            ):
                yield from _named(node.func.value, top)


def _named(node: ast.expr, top: set[str]) -> Iterator[str]:
    """The module-level name at the root of `name`, `name[x]` or `name[x].attribute`."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    if isinstance(node, ast.Name) and node.id in top:
        yield node.id


def test_no_module_holds_the_state_of_a_run() -> None:
    found = {
        f"{name_of(path)}: {name}"
        for path in MODULES
        if not name_of(path).startswith(WORKLOADS)
        for name in state(path)
    }
    contexts = {each for each in found if "ContextVar" in _value(each)}
    assert sorted(found - contexts - set(ALLOWED)) == []
    assert sorted(set(ALLOWED) - found) == [], "allowed, and there no more"


def _value(each: str) -> str:
    """The source of what a module-level name is bound to."""
    file, _, name = each.partition(": ")
    module = tree(Path(__file__).resolve().parents[2] / file)
    for node in module.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and name in ast.unparse(node).split("=")[0]:
            return ast.unparse(node)
    return ""


def test_the_rule_sees_each_way_to_change_a_module_variable(tmp_path: Path) -> None:
    """The control."""
    path = tmp_path / "bad.py"
    path.write_text(
        "a = 0\nb = []\nc = {}\nd = {}\ne = 1\nf = {}\n"
        "def one():\n    global a\n    a = 1\n"
        "def two():\n    b.append(1)\n    c[1] = 2\n    f[1].names.remove(2)\n    del d[1]\n    return e\n"
    )
    assert set(state(path)) == {"a", "b", "c", "d", "f"}
