"""No module keeps the state of a run: what is assigned or changed at run time is found by reading the source.

Not seen: an object of a module that is handed on and changed under another name, and methods that change their object but are
not among MUTATORS. What remembers per object (`cached_property`) is that object's.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.unit.test_layers import MODULES, WORKLOADS, name_of, tree

MUTATORS = {
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "insert", "pop", "popleft",
    "popitem", "put", "remove", "set", "setdefault", "sort", "update",
}  # fmt: skip
CACHES = {"cache", "lru_cache", "cached"}  # decorators
# module: name → why it is the process's, and no run's.
ALLOWED = {
    "meshlab/core/registry.py: _instances": "the one registry: what lives as long as a run does in this process",
    "meshlab/core/signals.py: _unanswered": "signals reach the process, not a run, and come before there is one",
    "meshlab/core/redaction.py: _values": "what is secret of one run must be withheld from every run's output",
    "meshlab/core/redaction.py: _known": "secrets that are known must be withheld from every run's output",
    "meshlab/app/loop.py: _numbers": "tells this process's loops in a pod apart, whichever run starts them",
    "tasks/resume.py: _identity": "of one client, which a run's context makes: the cluster behind it stays the same",
    # What is the same for every run: it is read from, or made of, this project's own files.
    "meshlab/clusters/gke/prices.py: prices": "prices.yaml",
    "meshlab/clusters/local/pins.py: requirements": "the go.mod files of the pins",
    "meshlab/core/redaction.py: _telltales": "a constant's forms in base64",
    "meshlab/istio/gateway_api.py: table": "gateway_api.yaml",
    "meshlab/istio/registries.py: table": "registries.yaml",
    "meshlab/istio/support.py: table": "support.yaml",
    "meshlab/report/rendering.py: environment": "the report's templates",
}


def state(path: Path) -> Iterator[str]:
    """Names that functions of the module assign or change in it, and functions that remember their answers."""
    module = tree(path)
    top = variables(module)
    objects = top | others(module)
    for function in ast.walk(module):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and any(
            map(_remembers, function.decorator_list)
        ):
            yield function.name
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield from node.names
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
                yield from _named(node.value, top)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
                yield from _named(node.value, objects)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "next"
                and node.args
            ):
                yield from _named(node.args[0], top)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in MUTATORS
            ):
                yield from _named(node.func.value, top)


def variables(module: ast.Module) -> set[str]:
    """Names that a module binds to values."""
    targets = [
        target
        for node in module.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def others(module: ast.Module) -> set[str]:
    """Names of a module's classes, functions and imports: they are objects, too, and can be given attributes."""
    found: set[str] = set()
    for node in module.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return found


def _remembers(decorator: ast.expr) -> bool:
    """Whether it is `@cache`, `@lru_cache(…)`, `@functools.cache` or the like."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)) in CACHES


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
        "import itertools, functools, logging\n"
        "a = 0\nb = []\nc = {}\nd = {}\ne = 1\nf = {}\n"
        "g = itertools.count(1)\nh = make()\ni, j = [], []\nk = itertools.count(1)\n"
        "class K:\n    n = 0\n    @functools.cached_property\n    def of_the_object(self):\n        self.x = 1\n"
        "def one():\n    global a\n    a = 1\n"
        "def two():\n    b.append(1)\n    c[1] = 2\n    f[1].names.remove(2)\n    del d[1]\n    return e\n"
        "def three():\n    h.x.y = next(g)\n    j.append(1)\n    K.n += 1\n    logging.level = 2\n    two.last = 3\n"
        "    return next(iter(k)), next(x for x in b)\n"
        "@cache\ndef four(): pass\n@lru_cache(maxsize=8)\ndef five(): pass\n@functools.cache\ndef six(): pass\n"
        "@other\ndef seven(): pass\n"
    )
    assert set(state(path)) == {
        "a", "b", "c", "d", "f", "g", "h", "j", "K", "logging", "two", "four", "five", "six"
    }  # fmt: skip
