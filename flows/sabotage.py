"""Faults planted one at a time in a lab, each of which must be caught by the checks that it names, and by no others.

A lab that is up (`make lab ARGS=--keep`) is used and left as it was; else one is brought up and removed again.
Round without a fault → for each fault: plant, check, take out, compare the cluster with before → round without a fault.

Started by hand (`python -m flows.sabotage [--only FAULT]`), or from Prefect. Requires what the full lab requires.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    # Prefect is slow to import: the input is judged, the run written down and the cluster started before that.
    from meshlab.cli.flags import Choice
    from meshlab.cli.main import main
    from meshlab.faults.faults import NAMES

    ONLY = Choice("--only", "only", "fault", NAMES, "Plant this fault alone; may be given several times.")
    sys.exit(
        main(
            sys.argv[1:],
            program="python -m flows.sabotage",
            about=__doc__,
            load=lambda: import_module("flows.sabotage").sabotage,
            flow="sabotage",
            choices=[ONLY],
        )
    )

from typing import Any

from prefect import flow
from prefect.states import State

from meshlab.config.settings import LabConfig
from meshlab.core.signals import signals_wait
from tasks.addons import announce_tracing, deploy_jaeger, deploy_parties, deploy_prometheus
from tasks.bookinfo import deploy_bookinfo
from tasks.cluster import start_cluster
from tasks.istio import enable_injection, find_istio, install_istio
from tasks.run import applied, begin_run, end_run, note_failure, signal_of
from tasks.sabotage import hold_control, not_planted, plan, prove, publish_catches
from tasks.teardown import Made, take_down
from tasks.traffic import halt_load

REMOVED = ("uninstall.nothing-left", "teardown.nothing-left")  # checks of the lab's own removal


@flow(name="sabotage", persist_result=False)
def sabotage(config: LabConfig = LabConfig(), only: tuple[str, ...] = ()) -> State[Any]:  # noqa: B008 - frozen
    """Prove that the lab's checks can fail: plant faults, and require that their named checks catch them.

    Args:
        config: What is wanted of the lab; one that is up is used and left up.
        only: Names of the faults to plant; all when empty.
    """
    run, child = begin_run(config, "sabotage")
    made, stopped, faults = Made(child=child), None, []
    try:
        cluster = made.cluster = start_cluster(run, config, child=child)
        istio = made.istio = find_istio(run, config, cluster)
        made.mesh = install_istio(run, config, cluster, istio)
        made.labelled = enable_injection(run, config, cluster)
        announced, made.tracing = announce_tracing(run, config, cluster, istio)
        addons = [task.submit(run, config, cluster, istio) for task in (deploy_prometheus, deploy_jaeger)]
        parts = [task.submit(run, config, cluster, istio) for task in (deploy_bookinfo, deploy_parties)]
        made.objects = [*announced, *applied(*addons, *parts)]
        lab, chosen = plan(run, config, cluster, istio, only)

        faults = list(chosen)
        if hold_control(run, lab, chosen, "baseline"):
            while faults and prove(
                run, lab, faults.pop(0)
            ):  # nothing is planted in a lab that is not as it was
                pass
            hold_control(run, lab, chosen, "control")
        not_planted(run, faults, "the lab was not green, or not as it was, before it")
    except Exception as problem:  # noqa: BLE001 - whatever broke, the lab is taken down
        note_failure(run, problem)
        not_planted(run, faults, "a step failed before it, see there")
    except BaseException as problem:
        stopped = signal_of(problem)
        raise
    finally:
        with signals_wait():
            halt_load(run)
            publish_catches(run)
            take_down(run, config, made, stopped=stopped, expected=REMOVED, why_kept=made.found_up)
            state = end_run(run, config, signum=stopped)
    return state
