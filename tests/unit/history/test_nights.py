"""The rule over 120 nights: through the real store and alerts once, without them often; and telling people."""

from pathlib import Path

from pydantic import SecretStr

from meshlab.config.settings import LabConfig, Machine
from meshlab.history.alerts import Webhook
from meshlab.history.keep import keep_run
from meshlab.history.nights import tell_tonight
from meshlab.run.journal import RunRef, read_journal
from tests.bench.nights import pure, through_the_store
from tests.examples.nights import night
from tests.fakes.http_server import FakeHttpServer, Reply

SEED, MANY = 0, 12


def test_20_percent_are_found_within_two_nights_and_quiet_nights_stay_quiet(tmp_path: Path) -> None:
    outcome = through_the_store(SEED, tmp_path)
    print(f"false alerts in 100 quiet nights: {outcome.false.total()}; +20 % found in night {outcome.found}")
    assert outcome.found is not None and outcome.found <= 2
    assert outcome.false.total() <= 1
    assert outcome.false == pure(SEED).false and outcome.found == pure(SEED).found


def test_so_it_is_on_average_over_many_simulations() -> None:
    outcomes = [pure(seed) for seed in range(1, MANY + 1)]
    false = sum(outcome.false.total() for outcome in outcomes) / MANY
    found = sum(outcome.found is not None for outcome in outcomes)
    print(f"{MANY} simulations: {false:.2f} false alerts per 100 quiet nights, {found} found in time")
    assert false <= 1
    assert found >= MANY - 1


def test_an_alert_that_does_not_get_through_is_a_warning_and_comes_the_next_night(tmp_path: Path) -> None:
    config = LabConfig.model_validate({"history": {"path": str(tmp_path / "h.sqlite")}})
    machine = Machine.here({"HOME": str(tmp_path)})
    replies = {"POST /hook": Reply("down", 503)}
    with FakeHttpServer(replies) as receiver:

        def made(number: int, verdict: str) -> tuple[int, list[str]]:
            result = night(number, verdict=verdict, checks={"a.b": verdict})
            run = RunRef(result["run_id"], tmp_path / result["run_id"], result["flow"], result["started"])
            run.evidence.mkdir(parents=True)
            run.journal.touch()
            assert keep_run(run, config, machine, result)
            sent = tell_tonight(run, config, machine, Webhook(SecretStr(f"{receiver.url}/hook")))
            return sent, [event["text"] for event in read_journal(run) if event["event"] == "warning"]

        assert made(0, "pass") == (0, [])
        sent, warned = made(1, "fail")
        assert sent == 0 and "fail a.b" in warned[0] and "waits for the next run" in warned[1]
        assert receiver.url not in str(warned)
        receiver.replies["POST /hook"] = Reply("ok")
        assert made(4, "pass") == (3, [])  # the failure, its end, and the two nights that were missed
        told = [document["text"] for _, document in receiver.asked[1:]]
    assert "run-red (nightly-validation on existing/blue)" in told[0]
    assert sorted(text.split(":")[0] for text in told) == ["✅ Resolved", "🔴 Incident", "🔴 Incident"]
