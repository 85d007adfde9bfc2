from pathlib import Path

import pytest

from meshlab.causes.objects import Found
from meshlab.causes.snapshot import keep
from meshlab.cli.history import main
from meshlab.history.records import from_result
from meshlab.history.store import History
from meshlab.history.view import sparkline
from tests.examples.nights import night
from tests.fakes.http_server import FakeHttpServer, Reply

P50 = "request-p50{loop=fast}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        for number in range(12):
            slow = number >= 10
            history.record(
                from_result(
                    night(
                        number,
                        {P50: (13.0 if slow else 10.0, "ms")},
                        verdict="fail" if slow else "pass",
                        checks={"a.b": "fail" if slow else "pass"},
                        istio="1.31.0" if slow else "1.30.0",
                        edges=(("a", "b"), ("b", "c")) if slow else (("a", "b"),),
                    )
                )
            )
    return path


def said(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    assert main([str(word) for word in words], program="history", about="About.") == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def test_runs_newest_first(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, 0, "runs", "--path", path, "--last", 3).splitlines()
    assert [line.split()[0][-4:] for line in lines[1:]] == ["000b", "000a", "0009"]
    assert "2 of 3" in lines[1] and "existing/blue" in lines[1]


def test_runs_of_every_flow_and_cluster_are_listed_each_with_its_own(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with History(path) as history:
        for number, flow in ((3, "full-lab"), (7, "sabotage")):
            other = night(number, flow=flow)
            other["run_id"] += f"-{flow}"
            history.record(from_result(other))
    lines = said(capsys, 0, "runs", "--path", path, "--last", 2).splitlines()[1:]
    assert [line.split()[1] for line in lines] == [
        "nightly-validation",
        "nightly-validation",
        "sabotage",
        "full-lab",
    ]
    only = said(capsys, 0, "runs", "--path", path, "--flow", "sabotage").splitlines()[1:]
    assert [line.split()[1] for line in only] == ["sabotage"]


def test_a_trend_is_drawn_with_its_limit_and_the_versions_that_changed(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = said(capsys, 0, "trend", P50, "--path", path, "--svg", tmp_path / "t.svg")
    assert (
        f"{P50} of nightly-validation on existing/blue  ▁▁▁▁▁▁▁▁▁▁██" in out and "above 12 ms is bad" in out
    )
    assert ["  bad" in line for line in out.splitlines()[1:13]] == ([False] * 10 + [True] * 2)
    assert "istio.client 1.30.0 → 1.31.0" in out
    assert (tmp_path / "t.svg").read_text().startswith("<svg")


def test_flaky_checks_differences_and_incidents(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "a.b" in said(capsys, 0, "flaky", "--path", path)
    with History(path) as history:
        ids = [run.run_id for run in history.runs()]
    out = said(capsys, 0, "diff", ids[0], ids[-1], "--path", path)
    for text in ("b → c", "1.31.0", "fail", "+30%", "findings: the same"):
        assert text in out
    assert "graph edges: the same" in said(capsys, 0, "diff", "--path", path)
    out = said(capsys, 0, "incidents", "--path", path, "--every", 24)
    for text in ("run-red", "slower", P50, "night-missed"):
        assert text in out


def test_objects_that_two_nights_saw_differently_are_named(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "configuration: not kept by both runs" in said(capsys, 0, "diff", "--path", path)
    with History(path) as history:
        for number, seconds in ((20, 1), (21, 7)):
            spec = {"http": [{"fault": {"delay": {"fixedDelay": f"{seconds}s"}}}]}
            directory = tmp_path / str(number)
            keep(directory / "evidence", "check-app", [Found("VirtualService", "shop", "slow", spec)])
            history.record(from_result(night(number), str(directory)))
    out = said(capsys, 0, "diff", "--path", path)
    assert "~  VirtualService shop/slow" in out and "1s → 7s" in out


def test_runs_of_different_clusters_are_never_compared(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with History(path) as history:
        for number in range(12):
            other = night(number, {P50: (99.0, "ms")}, istio="1.29.0")
            other["run_id"] += "-green"
            other["started"] = other["started"].replace("T02:30", "T03:30")
            other["cluster"]["name"] = "green"
            history.record(from_result(other))
        newest = history.runs()[-1].run_id
    out = said(capsys, 0, "trend", P50, "--path", path)
    assert "on existing/blue  ▁▁▁▁▁▁▁▁▁▁██" in out and "on existing/green  ▄▄▄▄▄▄▄▄▄▄▄▄" in out
    assert "1.29.0" not in out  # no version changed on either but once, on the first
    for words in ((), (newest,)):
        assert "versions: the same" in said(capsys, 0, "diff", *words, "--path", path)
    out = said(capsys, 0, "incidents", "--path", path)
    assert "nightly-validation on existing/blue" in out and "existing/green" not in out
    assert out == said(capsys, 0, "incidents", "--path", path, "--last", 1)  # judged from all runs


def test_a_night_that_did_not_come_is_told_without_a_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "MESH_LAB_ALERT_WEBHOOK" in said(capsys, 2, "tell", "--path", path)
    with FakeHttpServer({"POST /hook": Reply("ok")}) as receiver:
        monkeypatch.setenv("MESH_LAB_ALERT_WEBHOOK", f"{receiver.url}/hook")
        # A red check, a slower mesh, and the night that did not come.
        assert "3 messages sent" in said(capsys, 0, "tell", "--path", path)
        assert "0 messages sent" in said(capsys, 0, "tell", "--path", path)
        titles = [document["text"].split(":")[1] for _, document in receiver.asked]
        monkeypatch.setenv("MESH_LAB_ALERT_WEBHOOK", f"{receiver.url}/gone")
        with History(path) as history:
            history.record(from_result(night(12, verdict="fail", checks={"c.d": "fail"})))
        assert "answered 404" in said(capsys, 3, "tell", "--path", path)
    assert sorted(title.split(" (")[0].strip() for title in titles) == ["night-missed", "run-red", "slower"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("runs", "--path", "/nonexistent/h"), "there is no history"),
        (("trend", "zzz"), "there are: "),
        (("diff", "x", "y"), "no run 'x' and no run 'y'"),
        (("diff", "20260301t023000z-0000"), "is the first run"),
        (("runs", "--flow", "zzz"), "nightly-validation on existing/blue"),
        (("trend", P50, "--svg", "/nonexistent/t.svg"), "can't be written"),
    ],
)
def test_bad_input_ends_with_2_and_says_what_there_is(
    path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    more = () if "--path" in words else ("--path", str(path))
    assert text in said(capsys, 2, *words, *more)


@pytest.mark.parametrize(
    "words",
    [["dig"], [], ["runs", "--last", "0"], ["runs", "--last", "9" * 30], ["incidents", "--every", "-1"]],
)
def test_an_unknown_command_or_number_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words, program="history", about="About.")
    assert ended.value.code == 2


def test_a_sparkline_spans_the_values() -> None:
    assert sparkline([1, 2, 3]) == "▁▅█"
    assert sparkline([2, 2]) == "▄▄"
    assert sparkline([]) == ""
