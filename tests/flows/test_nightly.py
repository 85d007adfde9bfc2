"""The night makes the same checks as the lab, by the same tasks."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from flows.full_lab import full_lab
from flows.nightly import nightly, prove
from meshlab.config.settings import LabConfig
from meshlab.core.errors import InputError

SEQUENCE = Path(__file__).parents[2] / "flows" / "sequence.py"


def names(node: ast.AST) -> set[str]:
    """Every name that a piece of code uses."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def test_the_night_leaves_nothing_of_the_lab_out() -> None:
    """Both run one sequence; what depends on the flow is only added for the night."""
    assert "prove_mesh" in names(ast.parse(inspect.getsource(full_lab.fn)))
    assert "prove_mesh" in names(ast.parse(inspect.getsource(prove)))
    [sequence] = [
        node
        for node in ast.parse(SEQUENCE.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "prove_mesh"
    ]
    asked = [node for node in ast.walk(sequence) if isinstance(node, (ast.If, ast.IfExp))]
    assert all(isinstance(node.test, ast.Name) and node.test.id == "nightly" for node in asked)
    left = [ast.unparse(node.orelse) for node in asked if isinstance(node, ast.IfExp)]
    assert left == ["[]"] and not any(node.orelse for node in asked if isinstance(node, ast.If))
    assert {"compare_paths", "measure_proxies", "deploy_outside"} <= set().union(*map(names, asked))


def test_a_cluster_that_would_have_to_be_made_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = LabConfig(cluster="local", runs_dir=tmp_path / "runs")
    with pytest.raises(InputError, match="makes no cluster"):
        nightly.fn(config)
    assert list(tmp_path.iterdir()) == []
