"""--plan: say what a run on GKE would send to Google, and end. Nothing is written, in the cloud or on this machine."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from meshlab.cli.flags import Words, flags_elsewhere
from meshlab.cli.preflight import preflight, release_problems
from meshlab.config.loader import load
from meshlab.config.settings import Machine
from meshlab.core.errors import InputError, Problem
from meshlab.core.redaction import redact_value

HEADING = "# What this command line would send to Google, in its order, and what that may cost. Only reads were made.\n"


def show(words: Words, machine: Machine, *, resumes: bool = False) -> None:
    """Print the plan as YAML, on standard output.

    Args:
        words: The command line, taken apart.
        machine: This machine: its folders and what it has.
        resumes: The command line goes on with a run, which has its cluster already.

    Raises:
        InputError: A run would be refused; it names every problem. The plan is printed all the same where there is one.
    """
    found, problems = plan_of(words, machine)
    if resumes:
        problems.append(Problem("--plan", "plans a new run, not one that goes on", "leave out --resume"))
    if found is not None:
        sys.stdout.write(HEADING + yaml.safe_dump(redact_value(found), sort_keys=False, width=110))
    if problems:
        raise InputError(problems)


def plan_of(words: Words, machine: Machine) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Judge a command line and make its plan.

    Args:
        words: The command line, taken apart.
        machine: This machine: its folders and what it has.

    Returns:
        The plan, None where the settings are not good enough for one; and every problem.
    """
    from meshlab.clusters.gke.all_problems import examine_all
    from meshlab.clusters.gke.plan import plan
    from meshlab.istio.distribution import problems as istio_problems

    loaded = load(words.flags, words.sets, words.config)
    config, spoiled = loaded.config, loaded.spoiled
    problems = [*words.problems, *loaded.problems]
    if "cluster" not in spoiled:
        problems += flags_elsewhere(words.flags, config.cluster)
    if "cluster" not in spoiled and config.cluster != "gke":
        what = f"shows what is sent to Google, and --cluster {config.cluster} sends nothing there"
        problems.append(Problem("--plan", what, "add --cluster gke --project PROJECT, or leave --plan out"))
        spoiled = {*spoiled, "cluster"}
    if spoiled & {"cluster", "gke"} or config.gke.project is None:
        return None, problems + preflight(config, machine, spoiled=spoiled)
    problems += preflight(config, machine, spoiled={*spoiled, "cluster"})  # Google is asked here, once
    if "istio" not in spoiled:
        problems += istio_problems(config, machine)
    found = examine_all(config.gke, machine)
    problems += found.problems
    if found.version:
        problems += release_problems(config, machine, found.version, found.offered)
    return plan(config.gke, found, problems), problems
