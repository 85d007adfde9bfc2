import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from meshlab.cli import launch, preflight
from meshlab.cli.command import Command
from meshlab.cli.flags import Flag
from meshlab.cli.launch import Launch, next_commands, owing, prepared
from meshlab.cli.main import main, read_command_line
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import Problem
from meshlab.core.signals import answer_signals, unanswered_signal
from meshlab.lifecycle.kept_lab import KeptLab, hand_over, serves_pages
from meshlab.lifecycle.resume import keep_config
from meshlab.run.journal import create, note_end, read_journal, record_check
from meshlab.run.ledger import Entry, Ledger, ledgers
from meshlab.run.results import CheckResult, Verdict

LAB = Command("lab", "The lab.")
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home of its own, no settings of the reader's; environment and signal handlers are put back."""
    before = dict(os.environ)
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    for name in list(os.environ):
        if name.startswith(("MESHLAB_", "XDG_", "KUBECONFIG")):
            del os.environ[name]
    os.environ["HOME"] = str(tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    yield
    prepared()
    answer_signals()
    os.environ.clear()
    os.environ.update(before)
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


@pytest.fixture
def good(tmp_path: Path) -> list[str]:
    """A command line that starts no cluster."""
    kubeconfig = tmp_path / "kubeconfig"
    contexts = [{"name": "blue", "context": {"cluster": "one"}}]
    clusters = [{"name": "one", "cluster": {"server": "http://127.0.0.1:1"}}]
    kubeconfig.write_text(
        yaml.safe_dump({"contexts": contexts, "clusters": clusters, "current-context": "blue"})
    )
    words = f"--cluster existing --kubeconfig {kubeconfig} --set istio.distribution=embedded --runs-dir"
    return [*words.split(), str(tmp_path / "runs")]


def prepare(command: Command, arguments: list[str]) -> Launch:
    return launch.prepare(command, read_command_line(command, arguments))


def run_main(arguments: list[str], flow) -> int:
    return main(arguments, LAB, lambda: flow)


def result_of(tmp_path: Path) -> dict:
    [directory] = (tmp_path / "runs").iterdir()
    return json.loads((directory / "result.json").read_text())


def test_bad_input_ends_with_2_every_problem_named_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        prepare(LAB, ["--cluster", "mars", "--config", "/nonexistent", "--runs-dir", "/proc/nope"])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("lab: 3 problems, nothing was started:\n")
    for said in (
        "unknown value 'mars'",
        "--config /nonexistent: can't be read",
        "--runs-dir /proc/nope: can't be",
    ):
        assert said in captured.err
    assert list(tmp_path.iterdir()) == []
    assert prepared() is None


def test_good_input_is_written_down_before_anything_begins(good: list[str], tmp_path: Path) -> None:
    launch = prepare(LAB, good)
    assert (launch.config.cluster, launch.child) == ("existing", None)
    assert [event["event"] for event in read_journal(launch.run)] == ["run", "facts"]
    [ledger] = ledgers(Machine.here())
    assert ledger.entries() == ()  # the cluster is not ours
    assert ledger.path.stem == launch.run.run_id
    assert prepared() is launch
    assert prepared() is None  # once


def test_a_ledger_that_can_not_be_written_ends_with_3_and_a_result(
    good: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    os.environ["XDG_STATE_HOME"] = str(tmp_path / "file")
    with pytest.raises(SystemExit) as ended:
        prepare(LAB, good)
    assert ended.value.code == 3
    assert "XDG_STATE_HOME" in capsys.readouterr().err
    assert result_of(tmp_path)["steps"][0]["state"] == "failed"


def test_a_flow_that_proves_nothing_is_no_success(
    good: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[LabConfig] = []
    assert run_main(good, lambda config, return_state: seen.append(config)) == 3
    assert seen[0].cluster == "existing"
    out = capsys.readouterr().out
    assert "no check was made; exit code 3" in out
    assert f"evidence: {tmp_path / 'runs'}" in out
    assert result_of(tmp_path)["verdict"] == "error"


def test_a_flow_that_can_not_even_be_imported_leaves_a_result(good: list[str], tmp_path: Path) -> None:
    def load():
        raise ImportError("no such server")

    assert main(good, LAB, load) == 3
    [step] = result_of(tmp_path)["steps"]
    assert (step["name"], step["state"], step["reason"]) == ("flow", "failed", "no such server")


def test_a_run_that_never_reached_its_cluster_is_one_of_that_cluster(good: list[str], tmp_path: Path) -> None:
    def flow(config: LabConfig, *, return_state: bool) -> None:
        raise RuntimeError("nothing answers")

    run_main(good, flow)
    assert result_of(tmp_path)["cluster"] == {"provider": "existing", "name": "blue", "nodes": 0}


def test_a_server_that_is_gone_at_the_end_is_a_warning_and_the_process_does_not_wait_for_it(
    good: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def flow(config: LabConfig, return_state: bool) -> None:
        ready = prepared()
        assert ready is not None
        record_check(ready.run, CheckResult("a.one", "One", Verdict.PASS, "1 seen"))
        note_end(ready.run)
        raise httpx.ConnectError("Connection refused")

    left: list[int] = []
    monkeypatch.setattr(launch, "leave", left.append)
    assert run_main(good, flow) == 0 and left == [0]
    assert "Prefect was not told how the run ended, its server is gone" in capsys.readouterr().out
    assert result_of(tmp_path)["verdict"] == "pass"


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_flow_and_is_the_exit_code(
    good: list[str], tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    def flow(config: LabConfig, return_state: bool) -> None:
        signal.raise_signal(signum)

    assert run_main(good, flow) == code
    assert result_of(tmp_path)["verdict"] == "error"


def test_a_signal_in_the_import_of_the_flow_is_raised_after_it(good: list[str], tmp_path: Path) -> None:
    began: list[str] = []

    def load() -> Callable[..., None]:
        signal.raise_signal(signal.SIGINT)
        began.append("import done")
        return lambda config, return_state: began.append("flow")

    assert main(good, LAB, load) == 130
    assert began == ["import done"] and result_of(tmp_path)["verdict"] == "error"
    assert unanswered_signal() is None, "what ended the run ends no other"


def test_a_signal_whose_exception_a_library_replaced_is_the_exit_code_all_the_same(
    good: list[str], tmp_path: Path
) -> None:
    def flow(config: LabConfig, return_state: bool) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ValueError("as compiled code does with what its callback raised")

    assert run_main(good, flow) == 130
    assert result_of(tmp_path)["steps"] == []


def test_the_next_command_depends_on_what_is_left() -> None:
    assert "make down" in next_commands(LabConfig(keep=True), 0, machine=Machine.here())[0]
    assert "make down" in next_commands(LabConfig(keep_on_failure=True), 1, machine=Machine.here())[0]
    assert "--keep-on-failure" in next_commands(LabConfig(), 1, machine=Machine.here())[0]
    assert next_commands(LabConfig(keep_on_failure=True), 0, machine=Machine.here())[0].startswith(
        "make lab ARGS=--keep "
    )
    paid = LabConfig.model_validate({"cluster": "gke", "gke": {"project": "p"}})
    assert next_commands(paid, 1, owing="r-1", machine=Machine.here())[0].startswith(
        "python -m flows.teardown --run r-1 "
    )
    assert next_commands(paid, 0, machine=Machine.here())[0].startswith(
        'make lab ARGS="--cluster gke … --keep"'
    )  # nothing is left of it
    night = LabConfig(cluster="existing")
    assert next_commands(night, 1, "nightly-validation", machine=Machine.here())[0].startswith(
        "python -m flows.history diff "
    )


@pytest.mark.parametrize("flow", ["full-lab", "sabotage", "nightly-validation", "teardown"])
@pytest.mark.parametrize("code", [0, 1])
def test_a_goal_that_is_named_is_one_of_the_makefile(flow: str, code: int) -> None:
    goals = (Path(__file__).parents[3] / "Makefile").read_text(encoding="utf-8")
    for command in next_commands(LabConfig(), code, flow, machine=Machine.here()):
        words = command.split()
        assert words[0] != "make" or f"\n{words[1]}:" in goals


def test_a_run_owes_what_its_ledger_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = create(tmp_path / "runs", "full-lab")
    assert owing(run, Machine.here()) == ""
    ledger, entry = Ledger.open(Machine.here(), run), Entry("cluster", "c", "gke:projects/p/locations/z")
    assert owing(run, Machine.here()) == ""
    ledger.intend(entry)
    assert owing(run, Machine.here()) == run.run_id


def test_a_flow_gets_its_own_name_and_its_own_choices(good: list[str], tmp_path: Path) -> None:
    seen: dict = {}

    def flow(config: LabConfig, *, only: tuple[str, ...], return_state: bool) -> None:
        seen["only"] = only

    only = Flag("--only", "only", "fault", "Plant this fault alone.", ("a", "b"), many=True)
    main([*good, "--only", "b"], Command("lab", "It.", "sabotage", [only]), lambda: flow)
    assert seen == {"only": ("b",)}
    assert result_of(tmp_path)["flow"] == "sabotage"
    assert next_commands(LabConfig(), 1, "sabotage", machine=Machine.here())[0].startswith(
        "make sabotage ARGS="
    )


def test_a_lookout_that_the_flow_opened_is_held_until_a_signal_and_changes_no_exit_code(
    good: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    held: list[str] = []

    class Held(KeptLab):
        def hold(self, **_: object) -> None:
            held.append("held")
            signal.raise_signal(signal.SIGINT)

        def close(self) -> None:
            held.append("closed")

    def flow(config: LabConfig, return_state: bool) -> None:
        assert serves_pages()
        hand_over(Held(None, config))  # type: ignore[arg-type]

    assert run_main([*good, "--keep", "--serve"], flow) == 3  # of the run, which made no check
    assert held == ["held", "closed"]
    assert "open until Ctrl-C" in capsys.readouterr().out
    assert run_main([*good, "--keep"], lambda config, return_state: held.append(str(serves_pages()))) == 3
    assert held[2:] == ["False"]  # this is no terminal


def test_serving_what_is_removed_is_bad_input(good: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        prepare(LAB, [*good, "--serve"])
    assert ended.value.code == 2
    assert "add --keep" in capsys.readouterr().err


def test_a_signal_while_the_cluster_is_held_ends_the_start_and_lets_go(
    good: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    let: list[str] = []
    monkeypatch.setattr(launch, "acquire_lease", lambda *_: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(launch, "release_lease", let.append)
    with pytest.raises(SystemExit) as ended:
        prepare(LAB, good)
    assert ended.value.code == 143 and len(let) == 1
    assert "interrupted by signal 15; nothing was started" in capsys.readouterr().err
    assert list((tmp_path / "runs").glob("*")) == [] == list(ledgers(Machine.here()))


def test_a_signal_between_the_hold_and_the_flow_ends_the_run_before_the_flow(
    good: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let: list[str] = []

    def keep(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(launch, "keep_config", keep)
    monkeypatch.setattr(launch, "release_lease", let.append)

    def flow(config: LabConfig, return_state: bool) -> None:
        raise AssertionError("the flow began")

    assert run_main(good, flow) == 143
    [directory] = (tmp_path / "runs").iterdir()
    assert let == [directory.name]
    assert list(ledgers(Machine.here())) == []  # nothing is left in it


def test_a_ledger_that_names_something_stays_after_a_flow_that_did_not_end_itself(
    good: list[str], tmp_path: Path
) -> None:
    def flow(config: LabConfig, return_state: bool) -> None:
        ready = prepared()
        assert ready is not None
        Ledger.open(Machine.here(), ready.run).intend(Entry("app", "shop", "there"))
        signal.raise_signal(signal.SIGINT)

    assert run_main(good, flow) == 130
    [left] = ledgers(Machine.here())
    assert left.entries() == (Entry("app", "shop", "there"),)


def test_a_flow_that_fails_before_it_can_say_so_itself_is_a_failed_step(
    good: list[str], tmp_path: Path
) -> None:
    class Failed:
        message = "Flow run encountered an exception: ClusterBusyError: another run holds this cluster"

    assert run_main(good, lambda config, return_state: Failed()) == 3
    [step] = result_of(tmp_path)["steps"]
    assert (step["name"], step["state"]) == ("flow", "failed") and "another run holds" in step["reason"]


def test_help_is_given_before_anything_slow_is_imported() -> None:
    slow = "{'prefect', 'kubernetes', 'sqlalchemy', 'jinja2', 'requests', 'cryptography'}"
    code = "import atexit, sys; from meshlab.cli.command import Command; from meshlab.cli.main import main; "
    code += f"atexit.register(lambda: print('slow:', *(set(sys.modules) & {slow}))); "
    code += "main(['--help'], Command('lab', 'The lab.'), lambda: None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--runs-dir" in done.stdout and done.stdout.splitlines()[-1] == "slow:"


def test_a_run_that_goes_on_is_judged_with_what_it_was_asked_for(
    good: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with defaults: a machine without room for the default cluster may hold the run's own."""
    command = Command("lab", "The lab.", "full-lab", resumable=True)
    begun = create(tmp_path / "runs", "full-lab")
    keep_config(begun, read_command_line(LAB, good).config)
    judged = []

    def problems(config: LabConfig, machine: Machine) -> list[Problem]:
        judged.append(config.cluster)
        return [Problem("the machine", "is full", "free it")] if config.cluster == "local" else []

    monkeypatch.setattr(preflight, "provider_problems", problems)
    asked = read_command_line(command, ["--resume", begun.run_id, "--runs-dir", str(tmp_path / "runs")])
    assert judged == ["existing"] and asked.config.cluster == "existing"
    with pytest.raises(SystemExit):  # the control: a new run is judged with what it is asked for
        read_command_line(command, ["--runs-dir", str(tmp_path / "runs")])
