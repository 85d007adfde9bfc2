"""Authorization: deny by default, allow by identity, method, path and token; every cell of the truth table asked."""

from __future__ import annotations

import json

from meshlab.checks.authz import CHECK, truth_table
from meshlab.checks.base import run_check
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.istio.distribution import Distribution
from meshlab.istio.drained import wait_in_force
from meshlab.kube.changes import Changes
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of, mesh_of
from meshlab.report.authz import matrix_rows
from meshlab.report.gathered import gather
from meshlab.run.journal import RunRef, record_check, record_measures
from meshlab.run.results import CheckResult, Measure
from meshlab.security.authorization.prove import Proof, prove
from tasks.common import lab_task, log_info
from tasks.report import publish_table
from tasks.resume import checks_passed

EVIDENCE = "authz-truth-table.json"


@lab_task("check-authz", verify=checks_passed, depends_on_pods=True)
def check_authz(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> CheckResult:
    """Make authz.truth-table: what the policies say = what requests meet.

    A cell is client × service × method × path × token.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        distribution: Its Istio.

    Returns:
        The check.
    """
    kube, istioctl = kube_of(cluster), istioctl_of(cluster, distribution)

    def made() -> CheckResult:
        with Changes(kube, context_of(run).ledger, run) as changes:
            proof = prove(kube, istioctl, config, changes, mesh_of(run, cluster), images=cluster.images)
        keep(run, proof)
        # The stages that follow must not meet a policy of this one.
        wait_in_force(kube, istioctl, config.namespace)
        return truth_table(proof.table, file=f"evidence/{EVIDENCE}")

    return record_check(run, run_check(CHECK, made, granted=config.scope))


def keep(run: RunRef, proof: Proof) -> None:
    """Keep the table as evidence, as a section of the report and as an artifact.

    Args:
        run: The run.
        proof: The table, and the policies that it was made with.
    """
    table = proof.table
    rows = [row.as_json() for row in table.rows]
    rules = {f"{name} rule {index}": cells for (name, index), cells in table.rules.items()}
    content = {"cells": rows, "rules": rules, "seconds": proof.seconds}
    (run.evidence / EVIDENCE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    gather(run, authorization=table)
    publish_table("authorization", matrix_rows(table), "Who may do what: expected = observed, cell by cell")
    record_measures(run, Measure("authz-cells", len(rows), "cells"))
    log_info(
        f"{len(rows)} cells, {table.sent} requests, {len(table.differences)} differ; {dict(proof.seconds)}"
    )
