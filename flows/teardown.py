"""Take down what a run left (--run RUN_ID), or clusters of ours in the cloud that are past their time (--expired).

Clusters are found by the ledgers of this machine and by their labels, in all zones; what does not carry our labels is
never touched. --expired changes nothing unless --yes is given: what it finds makes the run fail, so that a schedule tells.

Started by hand (`python -m flows.teardown --run RUN_ID`), or on a schedule from Prefect (parameters `expired`, `yes`).
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    from meshlab.cli.teardown import main

    sys.exit(main(sys.argv[1:], about=__doc__, load=lambda: import_module("flows.teardown").teardown))

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from meshlab.config.settings import LabConfig
from tasks.reaper import check_gone, put_back, remove, search
from tasks.run import begin_run, run_to_end


@flow(name="teardown", persist_result=False)
def teardown(
    config: LabConfig = LabConfig(),  # noqa: B008 - frozen, and the default of the UI's form
    runs: tuple[str, ...] = (),
    expired: bool = False,
    yes: bool = False,
) -> State[Any]:
    """Search what is to go, remove it, search again.

    Args:
        config: Which clusters are meant; of gke the project.
        runs: Ids of runs of whose ledgers everything is removed.
        expired: Search clusters of ours that are past their time.
        yes: Remove what is expired, instead of listing it only.

    Returns:
        The flow's state: Completed where every check passed.
    """
    run, _ = begin_run(config, "teardown", holds=False)
    acts = yes or not expired  # a run that is named is meant

    def work() -> None:
        plan = search(run, config, runs, expired)
        try:
            if acts and plan.targets:
                remove(run, plan.targets)
        finally:
            check_gone(run, config, plan, runs, expired, acts)
        if runs:
            put_back(run, config, runs)

    return run_to_end(run, config, work)
