"""What a life of an upgrade's run knows of the lives before it: the plan that was begun, and that somebody is to be asked."""

from __future__ import annotations

import json
from typing import Any

from meshlab.core.errors import MeshlabError
from meshlab.istio.upgrade import MOVED, RETIRING, REVISION, UpgradePlan
from meshlab.lifecycle import resume
from meshlab.lifecycle.context import context_of
from meshlab.run.journal import RunRef, keep_evidence

PLAN_STEP = "plan-upgrade"
FILE = "upgrade-ask.json"  # below the run's evidence: somebody is to be asked


def kept_plan(run: RunRef) -> UpgradePlan | None:
    """Read the plan of an upgrade that an earlier life of the run has begun: half-way, no plan could be made anew.

    Args:
        run: The run.

    Returns:
        The plan; None where the run has begun no upgrade that is still to come to an end.

    Raises:
        MeshlabError: It was not kept.
    """
    if not any(entry.kind in (MOVED, REVISION, RETIRING) for entry in context_of(run).ledger.entries()):
        return None
    found = resume.kept(run, PLAN_STEP)
    if found is None:
        raise MeshlabError(
            f"the plan of the upgrade that run {run.run_id} has begun was not kept",
            remedy="start a new run on this cluster: it takes back first what this one has left",
        )
    chosen: UpgradePlan = resume.read_result(found, UpgradePlan)
    return chosen


def keep_ask(run: RunRef, ask: bool) -> bool:
    """Keep that somebody is to be asked: a run that goes on by its id alone asks, too.

    Args:
        run: The run.
        ask: Whether this life of the run was told to ask.

    Returns:
        Whether this life or one before it was.
    """
    if ask:
        keep_evidence(run, FILE, {"ask": True})
        return True
    try:
        found: dict[str, Any] = json.loads((run.evidence / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True  # it was told to ask, and cut off while it wrote that down
    return bool(found.get("ask", True))
