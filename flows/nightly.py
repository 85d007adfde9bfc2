"""Every night: all checks that the write scope allows, on a mesh that exists, and what changed since earlier nights.

Triggered by a schedule (prefect.yaml), or `python -m flows.nightly --kubeconfig FILE --context NAME`. Requires a
kubeconfig of a cluster with Istio, Prometheus and Jaeger. Writes to a namespace of its own only, unless --allow-changes
is given, and removes what it applied.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    # Prefect is slow to import: the input is judged and the run written down before that.
    from meshlab.cli.command import Command
    from meshlab.cli.main import main

    sys.exit(
        main(
            sys.argv[1:],
            Command(
                "python -m flows.nightly",
                __doc__,
                "nightly-validation",
                providers=("existing",),
                resumable=True,
            ),
            lambda: import_module("flows.nightly").nightly,
        )
    )

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.sequence import prove_mesh, run_lab
from meshlab.config.settings import LabConfig
from meshlab.core.signals import signals_wait
from meshlab.run.journal import RunRef, noted_signal
from tasks.nights import judge_provider, skip_beyond_scope, tell_people
from tasks.run import begin_run, write_again
from tasks.teardown import CreatedResources, attempt


@flow(name="nightly-validation", persist_result=False)
def nightly(config: LabConfig = LabConfig(cluster="existing")) -> State[Any]:  # noqa: B008 - frozen, the form's default
    """Validate a mesh that exists, measure it, compare it with earlier nights, and tell people what got worse.

    Args:
        config: What is wanted of the run; the cluster must be `existing`.
    """
    judge_provider(config)
    run, _ = begin_run(config, "nightly-validation")
    state = run_lab(run, config, CreatedResources(), prove)
    with signals_wait():
        if noted_signal(run) is None:
            attempt(tell_people, run, config)  # reads the run from the history, so it comes last
            return write_again(run, config)  # the result in the run's directory has this step, too
    return state


def prove(run: RunRef, config: LabConfig, created: CreatedResources) -> None:
    """Prove everything from a namespace of the run's own to the last check.

    Args:
        run: The run.
        config: The settings of the run.
        created: Filled with what was applied.
    """
    skip_beyond_scope(run, config)
    prove_mesh(run, config, created, nightly=True)
