"""The whole lab, in the order of the document it replaces.

cluster → Istio and all mesh configuration → Bookinfo, sleep, Prometheus and Jaeger → traffic while queries are asked,
dashboards examined, graph and traces read → load drained, counts reconciled → under STRICT: mutual TLS, authorization,
ingress, egress and audit proved → uninstall → teardown.

Started by hand (`python -m flows.full_lab`), or from Prefect. `--cluster local` requires one Linux machine and root;
`existing` requires a kubeconfig.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    # Prefect is slow to import: the input is judged, the run written down and the cluster started before that.
    from meshlab.cli.command import Command
    from meshlab.cli.main import main

    sys.exit(
        main(
            sys.argv[1:],
            Command("python -m flows.full_lab", __doc__, resumable=True, plannable=True),
            lambda: import_module("flows.full_lab").full_lab,
        )
    )

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.sequence import prove_mesh, run_lab
from meshlab.config.settings import LabConfig
from tasks.run import begin_run
from tasks.teardown import CreatedResources


@flow(name="full-lab", persist_result=False)
def full_lab(config: LabConfig = LabConfig()) -> State[Any]:  # noqa: B008 - frozen, and the default of the UI's form
    """Bring a mesh up, prove what it measures, take it down.

    Args:
        config: What is wanted of the run; every field has a default.
    """
    run, child = begin_run(config)
    return run_lab(run, config, CreatedResources(child=child), prove_mesh)
