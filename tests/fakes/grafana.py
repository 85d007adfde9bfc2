"""A Grafana on loopback: health, one Prometheus datasource, and queries answered as its API answers them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.http_server import FakeHttpServer, Reply

UID = "PBFA97CFB590B2093"
HEALTH, DATASOURCES, QUERY = "/api/health", "/api/datasources", "POST /api/ds/query"
VALUES = f"/api/datasources/uid/{UID}/resources/api/v1/label/app/values"


class FakeGrafana(FakeHttpServer):
    """answers: expression → data frames, an error (status, text), or a Reply; another expression finds nothing."""

    def __init__(
        self, answers: Mapping[str, Any] | None = None, **replies: Reply | Callable[..., Reply]
    ) -> None:
        self.answers = dict(answers or {})
        super().__init__(
            {
                HEALTH: Reply({"commit": "0", "database": "ok", "version": "12.3.1"}),
                DATASOURCES: Reply([datasource("Loki", "loki", uid="P8E80F9AEF21F6940"), datasource()]),
                QUERY: self._query,
                VALUES: Reply({"status": "success", "data": ["sleep", "productpage"]}),
                **{
                    {"health": HEALTH, "datasources": DATASOURCES, "values": VALUES}[k]: v
                    for k, v in replies.items()
                },
            }
        )

    @property
    def queries(self) -> list[dict[str, Any]]:
        """The bodies that were posted."""
        return [document for path, document in self.asked if path == QUERY]

    def _query(self, document: Mapping[str, Any]) -> Reply:
        [asked] = document["queries"]
        if asked["datasource"]["uid"] != UID:
            return Reply({"message": "Data source not found", "messageId": "datasource.notFound"}, 404)
        answer = self.answers.get(asked["expr"], [frame()])
        if isinstance(answer, Reply):
            return answer
        if isinstance(answer, tuple):
            status, text = answer
            failed = {"error": text, "errorSource": "downstream", "status": status}
            return Reply({"results": {asked["refId"]: failed}}, status)
        return Reply({"results": {asked["refId"]: {"status": 200, "frames": answer}}})


def datasource(
    name: str = "Prometheus", type_: str = "prometheus", *, uid: str = UID, default: bool = False
) -> dict[str, Any]:
    """One of the list that Grafana gives."""
    return {"id": 1, "uid": uid, "name": name, "type": type_, "isDefault": default}


def frame(labels: Mapping[str, str] | None = None, *points: tuple[float, float]) -> dict[str, Any]:
    """A data frame of one series, odd numbers told beside the values; without labels, that of an empty answer."""
    if labels is None:
        return {
            "schema": {"refId": "A", "meta": {"type": "timeseries-multi"}, "fields": []},
            "data": {"values": []},
        }
    values = [value for _, value in points]
    odd = {
        "NaN": [i for i, value in enumerate(values) if math.isnan(value)],
        "Inf": [i for i, value in enumerate(values) if value == math.inf],
        "NegInf": [i for i, value in enumerate(values) if value == -math.inf],
    }
    found = {name: positions for name, positions in odd.items() if positions}
    data: dict[str, Any] = {
        "values": [[when * 1000 for when, _ in points], [v if math.isfinite(v) else None for v in values]]
    }
    if found:
        data["entities"] = [None, found]
    fields = [
        {"name": "Time", "type": "time", "typeInfo": {"frame": "time.Time"}},
        {"name": "Value", "type": "number", "typeInfo": {"frame": "float64"}, "labels": dict(labels)},
    ]
    return {"schema": {"refId": "A", "fields": fields}, "data": data}
