import io
from typing import Any

import pytest
from rich.console import Console

from meshlab.cli.earlier import NOTHING, Earlier, Times
from meshlab.cli.terminal import View, checks_table, closing
from meshlab.core.errors import MeshlabError
from meshlab.core.progress import Update
from meshlab.run.compiles import noting_compiles
from meshlab.run.journal import RunRef, create, record_check, report_progress, skip_step, step
from meshlab.run.results import NOT_MADE, CheckResult, Verdict
from tests.fakes.clock import FakeClock


@pytest.fixture
def run(tmp_path) -> RunRef:
    return create(tmp_path, "full-lab")


def plain() -> Console:
    """A console that is no terminal, as in CI."""
    return Console(file=io.StringIO(), width=100)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def check(name: str, verdict: str = "pass", **more: Any) -> CheckResult:
    return CheckResult(**{"id": name, "title": "t", "verdict": Verdict(verdict), "summary": "3 of 3", **more})


def result(*checks: CheckResult, verdict: str = "pass", steps: tuple = ()) -> dict[str, Any]:
    return {"verdict": verdict, "checks": [each.as_json() for each in checks], "steps": list(steps)}


def test_plain_output_tells_steps_and_what_is_no_pass(run: RunRef) -> None:
    console = plain()
    with View(console).showing():
        with step(run, "cluster", attempt=2, began=1.0):
            record_check(run, check("cluster.nodes-ready"))
            record_check(run, check("mtls.refusal", "fail", reason="a 200 [red]came back[/red]"))
        with pytest.raises(MeshlabError), step(run, "install-istio", began=1.0):
            raise MeshlabError("istiod is not Ready", remedy="look at its pod")
        skip_step(run, "uninstall", "--keep")
    shown = [" ".join(word for word in line.split() if not word[0].isdigit()) for line in lines(console)]
    assert shown == [
        "… cluster",
        "fail mtls.refusal: a [red]came back[/red]",
        "✓ cluster s at attempt",
        "… install-istio",
        "✗ install-istio s istiod is not Ready",
        "remedy: look at its pod",
        "– uninstall s --keep",
    ]
    assert "\x1b" not in "".join(lines(console))


def test_nothing_is_drawn_after_the_block(run: RunRef) -> None:
    console = plain()
    with View(console).showing():
        pass
    skip_step(run, "late", "x")
    assert lines(console) == []


def test_plain_progress_is_said_now_and_then_and_at_its_end() -> None:
    console, clock = plain(), FakeClock(start=3.0)  # three seconds after the machine's boot
    with View(console, clock=clock).showing():
        for done in range(0, 101, 10):
            report_progress(Update("compile", done, 100, f"package [{done}]"))
            clock.sleep(4)
        report_progress(Update("compile", 100, 100, "package [100]"))
        report_progress(Update("pods", detail="3 Pending"))
    assert lines(console) == [
        "      compile:   0 %  package [0]",
        "      compile:  40 %  package [40]",
        "      compile:  80 %  package [80]",
        "      compile: 100 %  package [100]",
        "      pods: 3 Pending",
    ]


def test_a_terminal_shows_what_is_under_way_with_its_time_and_share(run: RunRef) -> None:
    console, clock = (
        Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None),
        FakeClock(),
    )
    view = View(console, clock=clock)
    with view.showing(), step(run, "cluster"):
        clock.sleep(12)
        report_progress(Update("compile", 25, 100, "package [1/4]"))
        report_progress(Update("image", 4, 4))
        page = Console(record=True, width=100, file=io.StringIO())
        page.print(view._moving())
    moving = page.export_text()
    assert "cluster" in moving and "12.0 s" in moving
    assert "25 % package [1/4]" in moving
    assert "image" not in moving  # it is done
    assert "✓ cluster" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_time_that_is_left_is_told_from_earlier_runs(run: RunRef) -> None:
    usual = Times(
        {"start-cluster": 12.0, "install-istio": 14.0}, {"start-cluster": 130.0, "install-istio": 100.0}
    )
    before = Earlier({NOTHING: usual})
    console, clock = plain(), FakeClock()
    view = View(console, clock=clock, earlier=before)
    with view.showing():
        with step(run, "start-cluster"):
            clock.sleep(20)
        with step(run, "new-step"):  # unknown: the last known one still tells the rest
            clock.sleep(5)
        with step(run, "install-istio"):
            clock.sleep(4)
            page = Console(record=True, width=100, file=io.StringIO())
            page.print(view._moving())
    begun = [line.strip() for line in lines(console) if "…" in line]
    assert begun == [
        "… start-cluster  (about 2 min left)",
        "… new-step  (about 2 min left)",
        "… install-istio  (about 2 min left)",
    ]
    moving = page.export_text()
    assert "4.0 s of about 14 s" in moving
    assert "29 s, about 2 min left" in moving


USUAL = Times({"start-cluster": 13.0}, {"start-cluster": 150.0, "check-mtls": 40.0})
LONGER = Times({"start-cluster": 589.0}, {"start-cluster": 1114.0})


def shown(view: View) -> str:
    page = Console(record=True, width=100, file=io.StringIO())
    page.print(view._moving())
    return page.export_text()


def test_a_run_that_begins_to_compile_is_compared_with_those_that_did(run: RunRef) -> None:
    console = plain()
    view = View(console, clock=FakeClock(), earlier=Earlier({NOTHING: USUAL, "compile cluster": LONGER}))
    with view.showing(), step(run, "start-cluster"):
        assert "about 2 min left" in shown(view) and "of about 13 s" in shown(view)
        noting_compiles(run)(Update("compile cluster", detail="looking up what has to be compiled"))
        assert "about 19 min left" in shown(view) and "of about 589 s" in shown(view)
    assert lines(console)[:2] == [
        "  … start-cluster  (about 2 min left)",
        "  … compile cluster  (about 19 min left)",
    ]


def test_a_run_that_is_the_first_to_compile_is_told_the_compile_s_time_and_no_other(run: RunRef) -> None:
    console = plain()
    view = View(console, clock=FakeClock(), earlier=Earlier({NOTHING: USUAL}))
    with view.showing():
        with step(run, "start-cluster"):
            noting_compiles(run)(Update("compile cluster", 4, 100, "about 9 min left; x"))
            assert shown(view).count("left") == 1 and "about 9 min left; x" in shown(view)
        with step(run, "check-mtls"):
            assert "left" not in shown(view)
    assert "  … check-mtls" in lines(console)


def test_the_table_holds_every_check_with_what_to_do_about_it() -> None:
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(
        checks_table(
            result(
                check("cluster.nodes-ready", seconds=1.26),
                check(
                    "mtls.refusal", "fail", summary="answered [200]", reason="no policy", remedy="set STRICT"
                ),
                check("kiali.graph", "skipped", summary="no Kiali"),
            )
        )
    )
    assert [line.split() for line in console.export_text().splitlines()] == [
        ["check", "verdict", "what", "was", "seen", "s"],
        ["cluster.nodes-ready", "pass", "3", "of", "3", "1.3"],
        ["mtls.refusal", "fail", "answered", "[200]", "0.0"],
        ["no", "policy"],
        ["→", "set", "STRICT"],
        ["kiali.graph", "skipped", "no", "Kiali", "0.0"],
    ]


def test_the_end_names_verdict_failed_steps_evidence_and_the_next_command() -> None:
    console = plain()
    failed = {"name": "install-istio", "state": "failed", "reason": "istiod [x] is not Ready"}
    closing(
        console,
        result(check("a.b"), check("a.c"), check("a.d", "fail"), verdict="fail", steps=(failed,)),
        1,
        "/tmp/[odd]/" + "long/" * 30,
        ["make lab ARGS=--keep"],
    )
    assert lines(console)[-4:] == [
        "verdict: fail  (2 pass, 1 fail; exit code 1)",
        "step install-istio failed: istiod [x] is not Ready",
        "evidence: /tmp/[odd]/" + "long/" * 30,  # whole, for copying
        "next: make lab ARGS=--keep",
    ]


def test_a_run_without_checks_says_so() -> None:
    console = plain()
    closing(console, result(verdict="error"), 3, "/runs/x", [])
    assert "verdict: error  (no check was made; exit code 3)" in lines(console)


def test_a_step_that_failed_shows_the_end_of_its_log(run: RunRef) -> None:
    console = plain()
    log = "\n".join(f"line {number}" for number in range(20))
    with View(console).showing(), pytest.raises(MeshlabError), step(run, "start-cluster"):
        raise MeshlabError(f"its process ended without a result. The end of its log:\n{log}")
    shown = [line.strip() for line in lines(console)]
    assert shown[-8:] == [f"line {number}" for number in range(12, 20)]


def test_checks_that_one_failed_step_took_along_are_one_line() -> None:
    console, why = plain(), "step start-cluster failed, see there"
    lost = [check(f"a.{number}", "infra-error", summary=NOT_MADE, reason=why) for number in range(57)]
    other = check("b.c", "infra-error", reason="Prometheus does not answer")
    closing(console, result(*lost, other, verdict="error"), 3, "runs/x", [])
    text = "\n".join(lines(console))
    assert text.count(why) == 1 and "57 checks" in text and "a.3" not in text and "b.c" in text


def test_checks_that_were_not_made_are_not_told_one_by_one(run: RunRef) -> None:
    console = plain()
    with View(console).showing():
        record_check(run, check("a.b", "infra-error", summary=NOT_MADE, reason="step x failed, see there"))
    assert lines(console) == []


def test_checks_that_one_object_explains_stand_under_it_with_one_remedy() -> None:
    console = plain()
    red = [
        check(f"a.{number}", "fail", reason=f"why {number}", remedy=f"mend {number}") for number in range(3)
    ]
    why = {
        "object": "Sidecar shop/narrow",
        "change": "changed today by kubectl",
        "why": "hides services: reviews",
    }
    causes = [{"check": each.id, **why} for each in red[:2]]
    console.print(checks_table({**result(check("b.c"), *red), "causes": causes}))
    shown = [" ".join(line.split()) for line in lines(console)]
    assert shown[2].startswith("2 checks fail Sidecar shop/narrow hides services: reviews")
    text = "\n".join(shown)
    assert text.count("hides services") == 1 and "changed today by kubectl" in text and "why 1" in text
    assert "mend 0" not in text and "mend 1" not in text and "mend 2" in text, "one remedy for the object"
    assert text.count("kubectl -n shop get sidecar narrow") == 1
