"""What another package calls is described: `Args:`, `Returns:` and `Raises:`, held by reading the source."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.unit.test_layers import MODULES, ROOT, WORKLOADS, name_of, nodes, tree

Function = ast.FunctionDef | ast.AsyncFunctionDef
SOURCES = tuple(path for path in MODULES if WORKLOADS not in name_of(path))
SECTION = re.compile(r"^(Args|Returns|Yields|Raises):$", re.MULTILINE)


def functions(module: ast.Module) -> Iterator[tuple[ast.ClassDef | None, Function]]:
    """Functions of a module and methods of its classes; what stands inside functions is private."""
    for node in module.body:
        if isinstance(node, Function):
            yield None, node
        elif isinstance(node, ast.ClassDef):
            yield from ((node, inner) for inner in node.body if isinstance(inner, Function))


def parameters(owner: ast.ClassDef | None, function: Function) -> list[str]:
    """The names that a caller fills in."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    names += [one.arg for one in (given.vararg, given.kwarg) if one]
    static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)
    return names if owner is None or static else names[1:]


def own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (*Function.__args__, ast.Lambda, ast.ClassDef)):
            waiting.extend(ast.iter_child_nodes(node))


def raises(function: Function) -> bool:
    """Whether its own body raises an error that it makes."""
    return any(isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) for node in own(function))


def gives(function: Function) -> str:
    """The section for what it gives back: Returns, Yields, or none."""
    given = ast.unparse(function.returns) if function.returns else "None"
    nothing = given in {"None", "NoReturn", "Never", "Iterator[None]"}
    if not nothing and any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own(function)):
        return "Yields"
    return "" if nothing else "Returns"


def missing(owner: ast.ClassDef | None, function: Function) -> list[str]:
    """What a reader of its docstring has to guess."""
    text = ast.get_docstring(function) or ""
    lines: dict[str, str] = {}
    parts = SECTION.split(text)
    lines.update(zip(parts[1::2], parts[2::2], strict=True))
    lost = [
        f"Args: {name}"
        for name in parameters(owner, function)
        if not re.search(rf"^ +\*{{0,2}}{name}(?: \([^)]*\))?: \S", lines.get("Args", ""), re.MULTILINE)
    ]
    section = gives(function)
    if section and not lines.get(section, "").strip():
        lost.append(f"{section}:")
    if raises(function) and not re.search(r"^ +[\w.]+: \S", lines.get("Raises", ""), re.MULTILINE):
        lost.append("Raises:")
    return lost


@cache
def names_used() -> dict[str, frozenset[str]]:
    """Package → the names that its modules import from elsewhere, and the attributes that they ask for."""
    used: dict[str, set[str]] = {}
    for path in SOURCES:
        mine = used.setdefault(path.parent.relative_to(ROOT).as_posix(), set())
        for node in nodes(path):
            if isinstance(node, ast.ImportFrom):
                mine.update(alias.name for alias in node.names)
            elif isinstance(node, ast.Attribute):
                mine.add(node.attr)
    return {package: frozenset(names) for package, names in used.items()}


def called_from_elsewhere(path: Path, function: Function) -> bool:
    """Whether a module of another package uses a function of this name."""
    home = path.parent.relative_to(ROOT).as_posix()
    return any(function.name in names for package, names in names_used().items() if package != home)


def subjects(path: Path) -> Iterator[tuple[ast.ClassDef | None, Function]]:
    """The functions of a module that have to say what they take."""
    for owner, function in functions(tree(path)):
        private = function.name.startswith("_") or (owner is not None and owner.name.startswith("_"))
        if not private and len(parameters(owner, function)) > 1 and called_from_elsewhere(path, function):
            yield owner, function


def left(path: Path) -> list[str]:
    """The functions of a module whose docstrings leave something out, a line each."""
    return [
        f"{name_of(path)}:{function.lineno}: {function.name}: {', '.join(lost)}"
        for owner, function in subjects(path)
        if (lost := missing(owner, function))
    ]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_function_that_others_call_says_what_it_takes_and_gives(path: Path) -> None:
    assert left(path) == []


def test_the_rule_finds_what_is_left_out() -> None:
    text = (
        "def told(name, seconds):\n"
        '    """Wait.\n\n    Args:\n        name: Of the pod.\n        seconds: At most.\n\n'
        '    Returns:\n        The pod.\n\n    Raises:\n        LabError: It is not there.\n    """\n'
        "def half(name, seconds) -> int:\n"
        '    """Wait.\n\n    Args:\n        name: Of the pod.\n    """\n    raise ValueError(name)\n'
        'def silent(name, seconds) -> None:\n    """Wait."""\n'
        'def one(name) -> int:\n    """Wait."""\n'
    )
    lost = {function.name: missing(owner, function) for owner, function in functions(ast.parse(text))}
    assert lost == {
        "told": [],
        "half": ["Args: seconds", "Returns:", "Raises:"],
        "silent": ["Args: name", "Args: seconds"],
        "one": ["Args: name", "Returns:"],
    }
    assert sum(len(list(subjects(path))) for path in SOURCES) > 200


if __name__ == "__main__":  # python -m tests.unit.test_docstrings: what is left to describe
    print("\n".join(line for path in SOURCES for line in left(path)))
