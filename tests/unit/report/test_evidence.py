from meshlab.report.evidence import Limits, evidence_html

LIMITS = Limits(rows=3, text=50)


def test_records_become_a_table_and_the_rest_is_counted() -> None:
    text = evidence_html({"pods": [{"name": f"p{n}", "ready": True, "of": [1, 2]} for n in range(5)]}, LIMITS)
    assert text.count("<tr>") == 4
    assert "and 2 more rows" in text
    assert "<td>yes</td>" in text and "<td>1, 2</td>" in text


def test_every_shape_that_json_has_is_shown() -> None:
    text = evidence_html(
        {
            "none": None, "flag": False, "whole": 3.0, "empty": [], "nothing": {},
            "names": ["a", "b", "c", "d"],
            "by_code": {"200": 5}, "by_pod": {"x": {"sent": 1, "labels": {"zone": "a"}}},
            "deep": [{"a": [{"b": {"c": 1}}]}], "mixed": [1, {"a": 2}], "long": "x" * 80, "lines": "a\nb",
        },
        LIMITS,
    )  # fmt: skip
    assert "<dt>by code</dt>" in text
    assert "and 1 more in result.json" in text
    assert "zone=a" in text
    assert "(30 more characters in result.json)" in text
    assert "<pre>a\nb</pre>" in text
    assert "<dd>3</dd>" in text and "<dd>no</dd>" in text and "<dd>-</dd>" in text


def test_markup_in_evidence_is_text() -> None:
    text = evidence_html({"<b>": ["<i>"], "rows": [{"<u>": "<s>"}]}, LIMITS)
    assert not any(tag in text for tag in ("<b>", "<i>", "<u>", "<s>"))


def test_no_evidence_is_nothing() -> None:
    assert evidence_html({}, LIMITS) == ""
