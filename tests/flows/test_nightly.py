"""The night makes the same checks as the lab, by the same tasks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from flows.nightly import nightly
from meshlab.config.settings import LabConfig
from meshlab.core.errors import InputError

ROOT = Path(__file__).parents[2]
LAB, NIGHT = ROOT / "flows" / "full_lab.py", ROOT / "flows" / "nightly.py"
# Tasks that belong to a mesh and cluster of our own.
OURS_ONLY: set[str] = set()


def tasks_of(path: Path) -> set[str]:
    """Names that a flow imports from `tasks`."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tasks.")
        for alias in node.names
    }


def test_every_task_of_the_lab_is_one_of_the_night() -> None:
    assert tasks_of(LAB) - tasks_of(NIGHT) - OURS_ONLY == set()
    assert "compare_paths" in tasks_of(NIGHT)


def test_a_cluster_that_would_have_to_be_made_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = LabConfig(cluster="local", runs_dir=tmp_path / "runs")
    with pytest.raises(InputError, match="makes no cluster"):
        nightly.fn(config)
    assert list(tmp_path.iterdir()) == []
