"""The truth table in the report and as an artifact."""

from __future__ import annotations

from meshlab.report.authz import authz_body, matrix_rows
from meshlab.report.material import ReportMaterial
from meshlab.report.sections import draw
from tests.examples.truth_tables import ALLOWED, DENIED, GOOD, OK, RBAC, UNSURE, row, table


def test_text_alone_tells_what_differs() -> None:
    found = table(*GOOD, row(ALLOWED, RBAC, token="editor"), row(UNSURE, OK, method="PUT"))
    text = str(authz_body(found))
    assert "2 of 4 cells" in text
    assert "expected 200, met 403 RBAC" in text and "unknown; met 200" in text
    assert "sleep, editor" in text and "foo/writer rule 0" in text
    assert text.count("<h3>") == 2


def test_one_section() -> None:
    (section,) = draw(ReportMaterial(authorization=table(*GOOD))).sections
    assert (section.id, "GET /details/0" in section.body) == ("authorization", True)
    assert "<h3>" not in section.body and "Differences" not in section.body


def test_markup_in_an_answer_stays_text() -> None:
    assert "<b>x" not in str(authz_body(table(row(DENIED, OK, client="<b>x"))))


def test_an_artifact_row_for_each_request() -> None:
    rows = matrix_rows(table(*GOOD))
    assert rows == [
        {
            "service": "details",
            "request": "GET /details/0",
            "token": "none",
            "sleep": "200",
            "outside": "403 RBAC",
        }
    ]
