"""The two lists of pinned packages: what a run needs, and what tests and checks of the code need beside that."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)
OURS = {"meshlab", "tasks", "flows", "tests"}


def pinned(name: str) -> set[tuple[str, str]]:
    """Each package of a lock with its version; one may be there in two, for two Pythons."""
    return set(PINNED.findall((ROOT / name).read_text(encoding="utf-8")))


def imported() -> set[str]:
    """Top-level names that the product imports, outside of Python's own library."""
    found = set()
    for folder in ("meshlab", "tasks", "flows"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {each.name.partition(".")[0] for each in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(str(node.module).partition(".")[0])
    return found - set(sys.stdlib_module_names) - OURS


def test_what_a_run_needs_is_pinned_as_development_has_it() -> None:
    run, development = pinned("requirements.lock"), pinned("requirements-dev.lock")
    assert run and run < development


def test_what_the_product_imports_is_there_without_what_development_needs() -> None:
    names = {re.sub(r"[._]", "-", name.lower()) for name, _ in pinned("requirements.lock")}
    providers = packages_distributions()
    missing = {
        name
        for name in imported()
        if not any(re.sub(r"[._]", "-", each.lower()) in names for each in providers.get(name, []))
    }
    assert missing == set()
