from typing import Any

from meshlab.report.markdown import MOST_EDGES, MOST_ROWS, mermaid, summary_markdown
from tests.examples.results import FULL

RESULT = {
    "run_id": "20260102t030405z-abcd",
    "flow": "full-lab",
    "verdict": "fail",
    "cluster": {"provider": "local", "name": "meshlab", "nodes": 3},
    "distribution": "embedded",
    "images": {"a": {"image": "x/a:1", "ours": True}, "b": {"image": "x/b:1", "ours": False}},
    "checks": [
        {"id": "a.b", "verdict": "pass", "summary": "3 of 3", "reason": None, "remedy": None},
        {"id": "a.c", "verdict": "fail", "summary": "s", "reason": "one | two\nthree\n", "remedy": None},
        {"id": "a.d", "verdict": "skipped", "summary": "no Kiali", "reason": None, "remedy": "install it"},
    ],
    "measures": [{"name": "request-p99", "value": 12.125, "unit": "ms", "labels": {"loop": "fast"}}],
    "steps": [{"name": "cluster", "state": "done", "seconds": 4.04}],
}
EMPTY = {"checks": [], "measures": [], "steps": [], "images": {}, "verdict": "error"}


def test_the_summary_begins_with_verdict_and_numbers_and_tells_what_is_no_pass() -> None:
    lines = summary_markdown(RESULT).splitlines()
    assert lines[0] == "# FAIL: 1 pass, 1 fail, 1 skipped"
    assert lines[2] == (
        "Run `20260102t030405z-abcd` of flow full-lab on cluster **meshlab** (local, 3 nodes), "
        "distribution embedded."
    )
    assert "| a.c | **fail** | one \\| two<br>three |  |" in lines
    assert "| a.d | **skipped** | no Kiali | install it |" in lines
    assert not any("| a.b |" in line for line in lines)
    assert "| request-p99 loop=fast | 12.125 ms |" in lines
    assert "Images of our own, in place of the official ones: `x/a:1`." in lines
    assert lines[-1] == "| cluster | done | 4.0 |"


def test_a_run_that_ended_before_its_cluster_says_so() -> None:
    cluster = {"provider": None, "name": None, "nodes": 0}
    lines = summary_markdown({**RESULT, **EMPTY, "cluster": cluster}).splitlines()
    assert lines[0] == "# ERROR: no check was made"
    assert "`20260102t030405z-abcd`" in lines[2] and "full-lab" in lines[2]
    assert "**" not in lines[2] and "None" not in lines[2] and "0 nodes" not in lines[2]


def test_the_size_of_a_cluster_that_is_not_ours_is_left_out() -> None:
    cluster = {"provider": "existing", "name": "blue", "nodes": 0}
    assert "on cluster **blue** (existing), distribution" in summary_markdown({**RESULT, "cluster": cluster})


def edge(source: str, target: str, **told: Any) -> dict[str, Any]:
    return {"from": source, "to": target, "part": "expected", "protocol": "http", "rate_rps": 2.0, "error_percent": 0.0,
            "p95_ms": 12.0, "mtls": True, **told}  # fmt: skip


def graph(*edges: dict[str, Any]) -> str:
    return mermaid([{"id": "graph.edges", "evidence": {"edges": list(edges)}}])


def test_the_graph_is_drawn_with_rates_and_what_is_wrong_is_red() -> None:
    lost = dict.fromkeys(("protocol", "rate_rps", "error_percent", "p95_ms", "mtls"))
    drawn = graph(
        edge("sleep", "page"), edge("page", "a", error_percent=2.5), edge("page", "b", **lost, part="lost")
    )
    assert drawn.splitlines() == [
        "flowchart LR",
        '  n0["sleep"]', '  n1["page"]', '  n2["a"]', '  n3["b"]',
        '  n0 -->|"2 req/s, 12 ms"| n1',
        '  n1 -->|"2 req/s, 2.5% errors, 12 ms"| n2',
        '  n1 -.->|"lost"| n3',
        "  linkStyle 1,2 stroke:#d1242f,stroke-width:3px",
    ]  # fmt: skip
    assert f"```mermaid\n{drawn}\n```" in summary_markdown(
        {**FULL, "checks": [{**FULL["checks"][0], "id": "graph.edges", "evidence": {"edges": [
            edge("sleep", "page"), edge("page", "a", error_percent=2.5), edge("page", "b", **lost, part="lost")]}}]}
    )  # fmt: skip


def test_names_can_not_leave_their_label_and_a_crowd_is_not_drawn() -> None:
    drawn = graph(edge('x"];click n0 "javascript:1', "<b>`y`"))
    assert drawn.splitlines()[1:3] == ['  n0["x???click n0 ?javascript:1"]', '  n1["?b??y?"]']
    assert graph() == mermaid([]) == graph(*(edge("a", f"b{n}") for n in range(MOST_EDGES + 1))) == ""


def test_verdicts_by_family_and_the_matrices_are_in_the_summary() -> None:
    rows = [{"request": f"GET /{n}", "sleep": "200 | ok"} for n in range(MOST_ROWS + 5)]
    catch = {"fault": "delay", "must": ["a.c"], "may": [], "red": ["a.c"], "restored": True}
    lines = summary_markdown({**RESULT, "catches": [catch]}, rows).splitlines()
    assert lines[lines.index("| checks of | pass | fail | skipped |") + 2] == "| a | 1 | 1 | 1 |"
    assert "| GET /0 | 200 \\| ok |" in lines and f"| GET /{MOST_ROWS} | 200 \\| ok |" not in lines
    assert "5 more are in the report." in lines
    assert lines[lines.index("| fault | a.c |") + 2] == "| delay | ● |"


def test_checks_of_one_cause_are_one_row_and_folded_below() -> None:
    why = {"object": "Sidecar shop/narrow", "change": "", "why": "hides services: reviews"}
    red = [{**RESULT["checks"][1], "id": name, "remedy": f"mend {name}"} for name in ("a.c", "a.e")]
    causes = [{"check": each["id"], **why} for each in red]
    text = summary_markdown({**RESULT, "checks": red, "causes": causes})
    assert "| 2 checks | **fail** | **Sidecar shop/narrow** hides services: reviews |" in text
    folded = text[text.index("<details>") : text.index("</details>")]
    assert "mend a.c" in folded and text.count("mend a.c") == 1
