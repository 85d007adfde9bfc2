from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from meshlab.app.loop import TrafficResult
from meshlab.cli.flags import RESUME, Again, Words, parse, take_again
from meshlab.cli.resume import judge_cluster, judge_state, kept_settings
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError, MeshlabError
from meshlab.lifecycle import resume
from meshlab.lifecycle.resume import Kept, why_not
from meshlab.run.journal import RunRef, create, fail_step, note_end, record, step
from meshlab.run.ledger import Ledger
from tests.fakes.kube import FakeKube


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    run = create(tmp_path, "full-lab", run_id="r1")
    for name in ("start-cluster", "install-istio", "check-app"):
        with step(run, name):
            pass
    record(run, {"event": "step", "name": "fast-load", "state": "started", "attempts": 1})
    return run


@dataclass(frozen=True)
class Counters:
    """A value like those of steps: a mapping whose keys are tuples, and a time."""

    at: datetime
    counts: Mapping[tuple[str, int], float]
    where: Path


WHOLE = {"cluster": "uid-1", "inputs": "i", "pods": {"a": 0}}


def test_a_kept_result_comes_back_as_it_was(run: RunRef) -> None:
    value = Counters(datetime(2026, 11, 23, tzinfo=UTC), {("x", 1): 2.5, ("y", 2): 0.0}, Path("/a"))
    resume.keep(run, "check-app", value, Counters, cluster="uid-1", inputs="i", pods={"a": 0})
    found = resume.kept(run, "check-app")
    assert found is not None and resume.read_result(found, Counters) == value
    nothing = Kept("check-app", **WHOLE, result=None)
    assert resume.read_result(nothing, Counters | None) is None
    with pytest.raises(MeshlabError, match="can't be read"):
        resume.read_result(nothing, Counters)


def test_values_of_real_steps_can_be_kept(run: RunRef) -> None:
    cluster = ClusterRef("local", "blue", Path("/k"), None, 3, "https://x", images=("a", "b"))
    sent = TrafficResult(3, {"200": 3}, {}, 1.0, 2.0, 3.0, 2.0, 3.0, 5.0, 0.6,
                         datetime.now(UTC), datetime.now(UTC), 0, ())  # fmt: skip
    for value in (cluster, sent):
        resume.keep(run, "x", value, type(value), cluster="u", inputs="i", pods={})
        found = resume.kept(run, "x")
        assert found is not None and resume.read_result(found, type(value)) == value


@pytest.mark.parametrize(
    ("name", "now", "said"),
    [
        ("install-istio", {}, ""),
        ("fast-load", {}, "had not finished"),
        ("uninstall-istio", {}, "had not finished"),
        ("check-app", {}, "--from names it"),
        ("install-istio", {"cluster": "uid-2"}, "another cluster"),
        ("install-istio", {"inputs": "j"}, "given something else"),
        ("install-istio", {"pods": {"b": 0}}, "pods were replaced"),
        ("install-istio", {"pods": {"a": 1}}, "pods were replaced"),
        ("install-istio", {"pods": {"a": 0, "new": 0}}, ""),
    ],
)
def test_a_result_is_trusted_only_where_everything_is_as_it_was(
    run: RunRef, name: str, now: dict, said: str
) -> None:
    resumption = resume.begin(run, "check-app")
    why = why_not(Kept(name, **WHOLE, result=None), resumption, name, **{**WHOLE, **now})
    assert (said in why) if said else why == ""


def test_what_was_not_kept_is_run_again(run: RunRef) -> None:
    assert why_not(None, resume.begin(run), "check-app", **WHOLE)
    (run.evidence / "steps").mkdir()
    (run.evidence / "steps" / "check-app.json").write_text('{"step": "check-app"')  # cut short
    assert resume.kept(run, "check-app") is None


def test_a_resumption_is_that_run_s_only_and_knows_what_was_open(run: RunRef, tmp_path: Path) -> None:
    assert resume.active(run) is None
    resumption = resume.begin(run)
    assert resume.active(run) is resumption
    assert resume.active(create(tmp_path, "full-lab", run_id="r2")) is None
    assert resumption.open_ends(["install-istio", "fast-load", "gentle-load"]) == ["fast-load"]


def test_inputs_are_the_settings_that_matter_and_the_values_of_earlier_steps() -> None:
    config, cluster = LabConfig(), ClusterRef("local", "blue", Path("/k"))
    same = resume.inputs_hash(config, {"0": cluster})
    assert resume.inputs_hash(LabConfig(keep=True, runs_dir=Path("x")), {"0": cluster}) == same
    other = LabConfig.model_validate({"app": {"namespace": "shop"}})
    assert resume.inputs_hash(other, {"0": cluster}) != same
    assert resume.inputs_hash(config, {"0": "fast"}) != resume.inputs_hash(config, {"0": "gentle"})


def test_a_cluster_is_known_by_kube_system_s_uid() -> None:
    kube = FakeKube(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "u7"}}]
    )
    assert resume.identity(kube) == "u7"  # type: ignore[arg-type]


def test_the_flags_are_taken_from_the_command_line() -> None:
    def taken(*arguments: str) -> tuple[Again | None, Words]:
        words = parse(arguments, "lab", "The lab.", RESUME)
        return take_again(words), words

    again, words = taken("--keep", "--resume", "r1", "--from", "check-app")
    assert (again, words) == (Again("r1", "check-app"), Words({"keep": "true"}))
    assert taken("--keep") == (None, Words({"keep": "true"}))
    for arguments in (["--from", "x"], ["--resume"]):
        again, words = taken(*arguments)
        assert again is None and [problem.where for problem in words.problems] == arguments[:1]


def test_bad_input_is_named_before_anything_is_touched(run: RunRef, tmp_path: Path) -> None:
    config = LabConfig(runs_dir=tmp_path)
    fail_step(run, "flow", "x")
    resume.keep_config(run, LabConfig(allow_changes=True))
    found, kept = kept_settings(config, Again("r1", "check-app"), "full-lab")
    assert found.started == run.started and kept == {"allow_changes": True}
    for again, flow, said in (
        (Again("zzz"), "full-lab", "there are: r1"),
        (Again("../r1"), "full-lab", "is no run"),
        (Again("r1", "dance"), "full-lab", "one of: start-cluster, install-istio"),
        (Again("r1"), "nightly-validation", "is a run of full-lab"),
    ):
        with pytest.raises(InputError, match=said):
            kept_settings(config, again, flow)


def test_a_run_that_removes_what_it_made_says_whether_all_was_tried_before(run: RunRef) -> None:
    assert resume.leaving(run) is None and not resume.begin(run).leaving
    record(run, {"event": "failure", "type": "KubeError", "reason": "no answer"})
    assert resume.leave(run, stopped=False) is False and not resume.begin(run).leaving
    assert resume.leave(run, stopped=True) is False
    assert resume.leave(run, stopped=False) is True, "the failure was before it was taken up again"
    assert resume.leaving(run) is True and resume.begin(run).leaving


def refused(run: RunRef, machine: Machine, step: str | None = None) -> str:
    """Why this run can't go on, "" where it can."""
    try:
        judge_state(run, Again(run.run_id, step), machine)
    except InputError as problem:
        return problem.message
    return ""


def test_a_run_goes_on_unless_it_is_under_way_or_its_lab_is_removed(
    run: RunRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    machine = Machine.here()
    assert refused(run, machine) == ""
    ledger = Ledger.open(machine, run)
    assert "is under way" in refused(run, machine)
    ledger.close()
    resume.leave(run, stopped=True)
    assert "had failed, and was removing" in refused(run, machine)
    resume.leave(run, stopped=False)
    assert refused(run, machine) == "" and "leave --from out" in refused(run, machine, "check-app")
    note_end(run)
    assert "has ended, and has removed" in refused(run, machine)


def test_a_run_that_was_removing_its_own_cluster_may_find_it_gone(run: RunRef) -> None:
    gone = ClusterRef("local", "blue", Path("/nowhere/kubeconfig"), "blue")
    resume.keep(run, "start-cluster", gone, ClusterRef, cluster="uid-1", inputs="i", pods={})
    with pytest.raises(InputError, match="can't be asked"):
        judge_cluster(run)
    resume.leave(run, stopped=False)
    assert judge_cluster(run) == gone
    theirs = ClusterRef("existing", "blue", Path("/nowhere/kubeconfig"), "blue", adopted=True)
    resume.keep(run, "start-cluster", theirs, ClusterRef, cluster="uid-1", inputs="i", pods={})
    with pytest.raises(InputError, match="can't be asked"):
        judge_cluster(run)
