"""The error budget: what is counted, when it is broken, and that a killed run's requests count, too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from meshlab.app.budget import Budget, RequestBook, overspent, spend, spent_on_disk
from meshlab.app.loop import Request

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def request(at: float, status: str = "200", ms: float = 10.0) -> Request:
    return Request(1, status, ms, BEGIN + timedelta(seconds=at), 0 if status != "000" else 7)


def test_requests_failures_rows_and_the_longest_gap_are_counted() -> None:
    life = [request(0), request(1), request(2, "503"), request(3, "000"), request(4), request(5, "503")]
    spent = spend([life])
    assert (spent.requests, spent.failed, spent.failed_in_a_row) == (6, 3, 2)
    assert spent.gap_ms == 3000.0
    assert spent.by_status == {"200": 3, "503": 2, "000": 1}


def test_silence_at_either_end_is_a_gap_and_without_a_good_answer_there_is_none() -> None:
    assert spend([[request(0, "503"), request(2), request(3)]]).gap_ms == 2010.0
    assert spend([[request(0), request(1), request(9, "503")]]).gap_ms == 8000.0
    assert spend([[request(0, "503")]]).gap_ms is None
    assert spend([]).requests == 0


def test_two_loops_side_by_side_are_judged_in_the_order_of_the_answers() -> None:
    slow = request(0, "503", ms=5000.0)
    assert spend([[slow, *(request(at / 10) for at in range(40))]]).failed_in_a_row == 1


def test_nothing_was_sent_between_two_lives() -> None:
    spent = spend([[request(0), request(1)], [request(600), request(601)]])
    assert (spent.gap_ms, spent.lives) == (1000.0, 2)


def test_more_than_three_in_a_row_break_the_budget_at_once() -> None:
    good = [request(at) for at in range(4000)]
    three, four = ([request(4000 + at, "503") for at in range(count)] for count in (3, 4))
    assert overspent(spend([[*good, *three]]), Budget(), ended=False) == ()
    assert len(overspent(spend([[*good, *four]]), Budget(), ended=False)) == 1


def test_the_share_is_judged_against_a_thousand_requests_while_traffic_flows_and_exactly_at_the_end() -> None:
    life = [request(0, "503"), *(request(at) for at in range(1, 100))]
    assert overspent(spend([life]), Budget(), ended=False) == ()
    assert len(overspent(spend([life]), Budget(), ended=True)) == 1
    two = [*life, request(200, "503")]
    assert len(overspent(spend([two]), Budget(), ended=False)) == 1


def test_what_a_killed_run_sent_is_read_again_without_the_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "requests.csv"
    first = RequestBook(path)
    first.add([request(0), request(1, "503")])
    first.add([])
    path.write_text(path.read_text() + "1,2026-01-01T00:0")
    second = RequestBook(path)
    second.add([request(600)])
    assert (second.spent().requests, second.spent().failed, second.spent().lives) == (3, 1, 2)
    assert RequestBook(path).spent() == second.spent()


def test_a_book_is_counted_while_it_is_written_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "requests.csv"
    assert spent_on_disk(path).requests == 0
    RequestBook(path).add([request(0), request(1, "503")])
    text = path.read_text() + "1,2026-01-01T00:0"
    path.write_text(text)
    assert (spent_on_disk(path).requests, spent_on_disk(path).failed) == (2, 1)
    assert path.read_text() == text
