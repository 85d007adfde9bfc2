from datetime import UTC, datetime, timedelta

import pytest

from meshlab.kube.pods import PodSummary
from meshlab.report.tables import age, check_rows, pod_rows, query_rows, step_rows, version_rows

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def pod(namespace: str, name: str, started: datetime | None) -> PodSummary:
    return PodSummary(
        namespace=namespace,
        name=name,
        uid="u",
        node="n1",
        ip="10.1.0.4",
        ready="2/2",
        phase="Running",
        status="Running",
        restarts=1,
        started=started,
        containers=("app",),
        images={},
        labels={},
        service_account="default",
        is_ready=True,
        deleting=False,
    )


def check(name: str, **evidence) -> dict:
    return {
        "id": name,
        "verdict": "pass",
        "summary": "2 series",
        "reason": None,
        "remedy": None,
        "seconds": 0.26,
        "evidence": evidence,
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172799, "47h"),
        (172800, "2d"),
    ],
)
def test_ages_are_written_as_kubectl_does(seconds: int, text: str) -> None:
    assert age(NOON - timedelta(seconds=seconds), NOON) == text


def test_pods_are_rows_in_the_order_of_their_names() -> None:
    rows = pod_rows(
        [pod("shop", "b", NOON - timedelta(minutes=5)), pod("shop", "a", None), pod("istio", "z", NOON)], NOON
    )
    assert [(row["namespace"], row["name"], row["age"]) for row in rows] == [
        ("istio", "z", "0s"),
        ("shop", "a", "-"),
        ("shop", "b", "5m"),
    ]
    assert list(rows[0]) == ["namespace", "name", "ready", "status", "restarts", "age", "node", "ip"]


def test_nested_versions_get_dotted_names_and_proxies_are_counted() -> None:
    versions = {
        "kubernetes": "v1.36.2",
        "istio": {"client": "1.31.0", "control_plane": None, "data_plane": {"1.31.0": 9, "1.30.1": 1}},
    }
    assert [(row["what"], row["version"]) for row in version_rows(versions)] == [
        ("kubernetes", "v1.36.2"),
        ("istio.client", "1.31.0"),
        ("istio.control_plane", "-"),
        ("istio.data_plane", "1.31.0 (9 proxies)"),
        ("istio.data_plane", "1.30.1 (1 proxy)"),
    ]


def test_checks_and_steps_have_no_empty_cells_that_read_none() -> None:
    [row] = check_rows([check("a.b")])
    assert row == {
        "check": "a.b",
        "verdict": "pass",
        "what was seen": "2 series",
        "reason": "",
        "remedy": "",
        "seconds": 0.3,
    }
    [row] = step_rows([{"name": "x", "state": "done", "seconds": 1.5, "attempts": 1, "reason": None}])
    assert row == {"step": "x", "state": "done", "seconds": 1.5, "attempts": 1, "reason": ""}


def test_queries_have_the_same_columns_in_every_row_and_an_empty_answer_has_one() -> None:
    rows = query_rows(
        [
            check(
                "prometheus.code-200", query="up", series=[{"reporter": "source", "value": 3}, {"value": 4}]
            ),
            check("prometheus.rate-5m", query="rate(x[5m])", series=[]),
            check("cluster.version", server="v1"),
        ]
    )
    assert rows == [
        {"check": "prometheus.code-200", "query": "up", "value": "3", "reporter": "source"},
        {"check": "prometheus.code-200", "query": "up", "reporter": "", "value": "4"},
        {"check": "prometheus.rate-5m", "query": "rate(x[5m])", "reporter": "", "value": ""},
    ]
