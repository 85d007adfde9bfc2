"""Faults planted one at a time in a lab, each of which must be caught by the checks that it names, and by no others.

A lab that is up (`make lab ARGS=--keep`) is used and left as it was; else one is brought up and removed again.
Round without a fault → for each fault: plant, check, take out, compare the cluster with before → round without a fault.
Where the run removes the lab itself, two more are planted in the way of that: one of the uninstall, one of the teardown.

Started by hand (`python -m flows.sabotage [--only FAULT]`), or from Prefect. Requires what the full lab requires.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    # Prefect is slow to import: the input is judged, the run written down and the cluster started before that.
    from meshlab.cli.command import Command
    from meshlab.cli.flags import Flag
    from meshlab.cli.main import main
    from meshlab.faults.faults import NAMES

    ONLY = Flag("--only", "only", "fault", "Plant this fault alone; may be given several times.", NAMES, True)
    sys.exit(
        main(
            sys.argv[1:],
            Command("python -m flows.sabotage", __doc__, "sabotage", [ONLY]),
            lambda: import_module("flows.sabotage").sabotage,
        )
    )

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.sequence import bring_up, run_lab
from meshlab.config.settings import LabConfig
from meshlab.faults.fault import Fault
from meshlab.run.journal import RunRef
from tasks.addons import deploy_jaeger, deploy_prometheus, deploy_traffic_clients
from tasks.bookinfo import deploy_bookinfo
from tasks.rotation import check_rotation
from tasks.run import applied, begin_run
from tasks.sabotage import hold_control, plan, prove
from tasks.sabotage_end import LastFaults, judge_last, not_planted, publish_catches, why_it_stays
from tasks.teardown import NOTHING_BEFORE, CreatedResources, take_down

REMOVED = ("uninstall.nothing-left", "teardown.nothing-left")  # checks of the lab's own removal


@flow(name="sabotage", persist_result=False)
def sabotage(config: LabConfig = LabConfig(), only: tuple[str, ...] = ()) -> State[Any]:  # noqa: B008 - frozen
    """Prove that the lab's checks can fail: plant faults, and require that their named checks catch them.

    Args:
        config: What is wanted of the lab; one that is up is used and left up.
        only: Names of the faults to plant; all when empty.
    """
    run, child = begin_run(config, "sabotage")
    created, faults, last = CreatedResources(child=child), list[Fault](), LastFaults()

    def prove_faults(run: RunRef, config: LabConfig, created: CreatedResources) -> None:
        cluster, istio = bring_up(run, config, created)
        addons = [task.submit(run, config, cluster, istio) for task in (deploy_prometheus, deploy_jaeger)]
        parts = [
            task.submit(run, config, cluster, istio) for task in (deploy_bookinfo, deploy_traffic_clients)
        ]
        created.objects += applied(*addons, *parts)
        lab, chosen = plan(run, config, cluster, istio, only, stays=why_it_stays(config, created))
        faults.extend(chosen)
        rounds = [fault for fault in chosen if not fault.last]
        alone = bool(chosen) and not rounds  # the removal's faults need no round: their checks hold a control
        if good := alone or hold_control(run, lab, rounds, "baseline"):
            while good and faults and not faults[0].last:
                good = prove(run, lab, faults.pop(0))  # nothing is planted in a lab that is not as it was
            good = (alone or hold_control(run, lab, rounds, "control")) and good
        if config.security.rotation:  # takes minutes
            check_rotation(run, config, cluster, istio)
        if good:
            last.lab, last.waiting = lab, faults[:]
            faults.clear()
        not_planted(run, faults, "the lab was not green, or not as it was, before it")

    def leave(stopped: int | None) -> None:
        first = last.before_removal(run) if stopped is None else NOTHING_BEFORE
        why_kept = created.found_up
        try:
            take_down(run, config, created, stopped=stopped, expected=REMOVED, why_kept=why_kept, first=first)
            if stopped is None:
                judge_last(run, last)
        finally:
            publish_catches(run)

    return run_lab(
        run,
        config,
        created,
        prove_faults,
        failed=lambda: not_planted(run, faults, "a step failed before it, see there"),
        leave=leave,
    )
