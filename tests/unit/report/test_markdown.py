from meshlab.report.markdown import summary_markdown

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
