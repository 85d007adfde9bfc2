"""The whole lab, killed at every one of its steps and taken up again each time: what is redone, and how it ends.

One chain instead of a run per step: a life of the run is killed in the first step that no life before was killed in,
the next life takes it up and comes one step further. The table goes to the terminal and to the test's folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from meshlab.core.waiting import wait
from meshlab.kube.client import Kube
from tests.live.conftest import ROOT, command, differs, own_prefect

pytestmark = [pytest.mark.live, pytest.mark.long]
NAME, NETWORK = "mlresume", "10.204"
LAB = ["--set", f"local.name={NAME}", "--set", f"local.network={NETWORK}", "--set", "local.nodes=1"]
LONGEST = 45 * 60  # seconds for one life, on a busy machine
POLL = 0.02  # seconds
PUT_BACK = "put-back"  # the step with which a life begins that finds changes of the one before: never work done again


@pytest.fixture(autouse=True)
def no_lab_is_left() -> Iterator[None]:
    down()
    yield
    for process in started:
        end(process)
    started.clear()
    assert down().returncode == 0


started: list[subprocess.Popen[str]] = []


def end(process: subprocess.Popen[str]) -> None:
    """Kill a life, and all of its process group, where it still goes on."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def down() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("down", "--name", NAME, "--network", NETWORK, module="meshlab.clusters.local"),
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


@dataclass
class Fault:
    """One kill.

    step: that was under way, `finished` those that were done, `redone` those of them that the next life did
    again, in spite of it. lost: that were under way, too.
    """

    step: str
    finished: frozenset[str]
    lost: frozenset[str]
    redone: tuple[str, ...] = ()
    seconds: float = 0.0  # of the next life, until it was in a step that had not finished


@dataclass
class Lab:
    """A run in a folder of its own, life by life."""

    folder: Path
    more: Sequence[str] = ()
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs.mkdir(parents=True)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def directory(self) -> Path:
        [found] = self.runs.iterdir()
        return found

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A life, in a process group of its own. The first one begins the run, the next ones take it up."""
        again = ["--resume", self.directory.name] if any(self.runs.iterdir()) else [*LAB, *self.more]
        history = ["--set", f"history.path={self.folder / 'history.sqlite'}"]
        with (self.folder / "output.txt").open("a", encoding="utf-8") as sink:
            process = subprocess.Popen(
                command("--runs-dir", str(self.runs), *again, *history, *words),
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, text=True, start_new_session=True,
                env=own_prefect(self.runs),
            )  # fmt: skip
        started.append(process)
        return process

    def finish(self, *words: str) -> int:
        """A life that is left in peace; its exit code."""
        return self.start(*words).wait(LONGEST)

    def said(self) -> str:
        return (self.folder / "output.txt").read_text(encoding="utf-8")

    def journal(self) -> list[dict[str, Any]]:
        found = []
        for journal in self.runs.glob("*/evidence/journal.jsonl"):
            for line in journal.read_text(encoding="utf-8").splitlines():
                if line.endswith("}"):
                    found.append(json.loads(line))
        return found

    def verdicts(self) -> dict[str, str]:
        result = json.loads((self.directory / "result.json").read_text())
        return {check["id"]: check["verdict"] for check in result["checks"]}


def life(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of the last life."""
    begin = max(n for n, each in enumerate(events) if each["event"] in ("run", "resumed"))
    return list(events[begin:])


def done(events: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Steps whose last state is that they are done."""
    last = {each["name"]: each["state"] for each in events if each["event"] == "step"}
    return frozenset(name for name, state in last.items() if state == "done")


def made(events: Sequence[dict[str, Any]]) -> list[str]:
    """Steps whose work a life has begun: not those whose kept result was verified and used."""
    begun = [each["name"] for each in events if each["event"] == "step" and each["state"] == "started"]
    trusted = {each["name"] for each in events if each["event"] == "resume" and each["trusted"]}
    return [name for name in dict.fromkeys(begun) if name not in trusted]


def judged(events: Sequence[dict[str, Any]], name: str) -> bool:
    """Whether it is known that a step works, in a life that was taken up: what it kept is looked at first."""
    first = events[0]["event"] == "run"
    keeps = name not in (PUT_BACK, "remove-cluster", "dump-evidence", "restore-changes")
    return first or not keeps or any(each["event"] == "resume" and each["name"] == name for each in events)


def strike(lab: Lab, struck: set[str], pause: Callable[[str], float]) -> bool:
    """Start a life and kill it in the first step that none was killed in; False where it came to its end."""
    process, began, worked = lab.start(), time.monotonic(), 0.0
    before = lab.faults[-1] if lab.faults else None
    lives = sum(each["event"] in ("run", "resumed") for each in lab.journal())
    target, due = "", dict[str, float]()
    try:
        while process.poll() is None and not target:
            assert time.monotonic() - began < LONGEST
            events = lab.journal()
            if sum(each["event"] in ("run", "resumed") for each in events) > lives:
                events = life(events)
                works = [name for name in made(events) if judged(events, name)]
                if before and not worked and any(name not in before.finished for name in works):
                    worked = time.monotonic() - began
                for name in works:
                    due.setdefault(name, time.monotonic() + pause(name))
                over = done(events)
                late = [name for name in works if name in over or time.monotonic() >= due[name]]
                target = next((name for name in late if name not in struck), "")
            if not target:
                time.sleep(POLL)
    finally:
        end(process)
    events = lab.journal()
    if before:
        latest = life(events)
        before.redone = tuple(
            name
            for name in made(latest)
            if name in before.finished and name != PUT_BACK and judged(latest, name)
        )
        before.seconds = worked
    if not target:
        return False
    struck.add(target)
    begun = {each["name"] for each in events if each["event"] == "step"}
    lab.faults.append(Fault(target, done(events), frozenset(begun - done(events) - {target})))
    return True


def table(faults: Sequence[Fault]) -> str:
    rows = [
        "| killed with -9 in | finished before | under way beside it | finished steps redone | the next life worked after |",
        "|---|---|---|---|---|",
    ]
    for each in faults:
        beside = ", ".join(sorted(each.lost)) or "–"
        state = "" if each.step not in each.finished else " (just done)"
        redone = ", ".join(each.redone) or "none"
        rows.append(
            f"| {each.step}{state} | {len(each.finished)} | {beside} | {redone} | {each.seconds:.0f} s |"
        )
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A run that nothing happens to."""
    down()
    lab = Lab(tmp_path_factory.mktemp("clean") / "lab")
    assert lab.finish() == 0, lab.said()[-6000:]
    return lab


@pytest.mark.parametrize("share", [0.0, 0.5], ids=["at its begin", "half way through"])
def test_killed_at_every_step_it_redoes_one_finished_step_at_most_and_ends_as_a_clean_run(
    share: float, clean: Lab, tmp_path: Path
) -> None:
    took = {
        each["name"]: each["seconds"]
        for each in clean.journal()
        if each["event"] == "step" and "seconds" in each
    }
    lab, struck = Lab(tmp_path / "lab"), set[str]()
    try:
        while strike(lab, struck, lambda name: share * took.get(name, 0.0)):
            assert len(struck) < 2 * len(took)
    finally:
        (tmp_path / "resume.md").write_text(table(lab.faults))
        print(f"\n{table(lab.faults)}")
    result = json.loads((lab.directory / "result.json").read_text())
    assert result["verdict"] == "pass", lab.said()[-6000:]
    assert lab.verdicts() == clean.verdicts()
    assert set(took) <= struck, "a step at which nothing was killed"
    assert {each.step: each.redone for each in lab.faults if len(each.redone) > 1} == {}


def reach(lab: Lab, step: str, *words: str) -> subprocess.Popen[str]:
    """A life that has come to this step."""
    process, began = lab.start(*words), time.monotonic()
    while not any(each["event"] == "step" and each["name"] == step for each in lab.journal()):
        assert process.poll() is None, lab.said()[-6000:]
        assert time.monotonic() - began < LONGEST
        time.sleep(POLL)
    return process


def test_killed_once_and_taken_up_it_shows_what_the_record_has(tmp_path: Path) -> None:
    """Three nodes, as the record's lab; a life that is taken up tells of that, in keys and files of its own."""
    lab = Lab(tmp_path / "lab", ["--set", "local.nodes=3"])
    end(reach(lab, "check-istio"))
    assert lab.finish() == 0, lab.said()[-6000:]
    assert any(each["event"] == "resumed" for each in lab.journal()), "the control: it was taken up"
    assert differs("full-lab", lab.directory) == []


def test_sigterm_removes_the_lab_and_leaves_nothing_to_take_up(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    process = reach(lab, "check-istio")
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONGEST) == 128 + signal.SIGTERM, lab.said()[-6000:]
    assert lab.finish() == 2
    assert "has ended, and has removed what it made" in lab.said()


def test_a_lab_that_was_kept_at_sigterm_goes_on_from_any_step(clean: Lab, tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", ["--keep-on-failure"])
    process = reach(lab, "check-mtls")
    refused = lab.finish()
    assert refused == 2 and "is under way" in lab.said(), "nobody takes a run over that still goes on"
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONGEST) == 128 + signal.SIGTERM, lab.said()[-6000:]
    before = lab.journal()
    order = list(dict.fromkeys(each["name"] for each in before if each["event"] == "step"))
    assert lab.finish("--from", "reconcile") == 0, lab.said()[-6000:]
    again = set(made(life(lab.journal())))
    assert not again & set(order[: order.index("reconcile")])
    assert {"reconcile", "begin-strict", "check-mtls", "check-teardown"} <= again
    assert lab.verdicts() == clean.verdicts()


def scale(lab: Lab, name: str, replicas: int) -> None:
    """Another number of pods of a Deployment of istio-system, and they are there."""
    kubeconfig = json.loads((lab.directory / "evidence" / "cluster.json").read_text())["kubeconfig"]
    kube = Kube.connect(Path(kubeconfig), None)
    kube.patch("apps/v1", "Deployment", name, {"spec": {"replicas": replicas}}, "istio-system")
    wait(
        f"{replicas} pods of {name}",
        lambda: kube.get("apps/v1", "Deployment", name, "istio-system") or {},
        ready=lambda found: (
            found["status"].get("observedGeneration") == found["metadata"]["generation"]
            and found["status"].get("readyReplicas", 0) == replicas == found["status"].get("replicas", 0)
        ),
        timeout=180,
    )


# Deployment that goes away → the step at whose begin it does, and the finished steps that are done again afterwards.
CAUSES = {
    "istiod": ("announce-tracing", set[str]()),
    # Checks that failed are made again, under load of its own that is counted and compared from a new begin.
    "prometheus": (
        "check-app",
        {"count-requests", "begin-phase", "mixed-traffic", "fast-load", "gentle-load"},
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_run_that_failed_goes_on_when_the_cause_is_gone(cause: str, clean: Lab, tmp_path: Path) -> None:
    step, load = CAUSES[cause]
    lab = Lab(tmp_path / "lab", ["--keep-on-failure", "--set", "app.rollout_timeout=60"])
    process = reach(lab, step)
    scale(lab, cause, 0)
    code = process.wait(LONGEST)
    assert code in (1, 3), lab.said()[-6000:]
    events = lab.journal()
    wrong = {each["id"] for each in events if each["event"] == "check" and each["verdict"] != "pass"}
    assert wrong, "the control: it failed"
    scale(lab, cause, 1)
    assert lab.finish() == 0, lab.said()[-6000:]
    told = [each for each in life(lab.journal()) if each["event"] == "resume" and each["redone"]]
    again = {each["name"] for each in told if "did not pass" not in each["why"]}
    print(
        f"\n{cause} away from {step} on: exit code {code}; done again {[(e['name'], e['why']) for e in told]}"
    )
    assert again <= load
    assert lab.verdicts() == clean.verdicts()
