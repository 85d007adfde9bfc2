from google.cloud.container_v1.types import Operation

from meshlab.clusters.gke.operations import describe, failed, parts, reason

RUNNING, DONE = Operation.Status.RUNNING, Operation.Status.DONE


def operation(metrics: dict[str, int], **more: object) -> Operation:
    rows = [{"name": name, "int_value": value} for name, value in metrics.items()]
    return Operation(status=RUNNING, progress={"metrics": rows}, **more)


def test_progress_is_said_as_gcloud_says_it() -> None:
    found = operation(
        {
            "CLUSTER_CONFIGURING": 4, "CLUSTER_CONFIGURING_TOTAL": 4, "CLUSTER_DEPLOYING": 1, "CLUSTER_DEPLOYING_TOTAL": 8,
            "CLUSTER_HEALTHCHECKING_TOTAL": 2,
        }
    )  # fmt: skip
    assert describe(found) == "RUNNING: being deployed (1 of 8)"
    assert parts(found) == (5, 14)


def test_an_operation_without_metrics_says_its_detail() -> None:
    assert describe(Operation(status=RUNNING, detail="Waiting.")) == "RUNNING: Waiting."
    assert describe(Operation(status=RUNNING)) == "RUNNING"
    assert describe(None) == "the API has forgotten the operation"
    assert parts(Operation()) == (0, 0)


def test_an_error_that_is_not_there_is_none() -> None:
    fine = Operation(status=DONE)
    assert bool(fine.error), "the trap: an absent error is true"
    assert not failed(fine)
    bad = Operation(status=DONE, error={"code": 8, "message": "no machines"})
    assert failed(bad) and reason(bad) == "no machines"
    assert reason(Operation(status_message="older field")) == "older field"
