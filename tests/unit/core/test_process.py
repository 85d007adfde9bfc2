import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from meshlab.core.errors import Interrupted, ProcessError
from meshlab.core.process import Completed, SystemRunner, end_group, lives


def sh(script: str, **options) -> Completed:
    return SystemRunner(grace=0.2).run(["/bin/sh", "-c", script], **{"timeout": 30, **options})


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that its new parent has yet to reap has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_both_outputs_and_the_code_come_back() -> None:
    done = sh("echo out; echo err >&2; exit 3", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert done.argv[0] == "/bin/sh"


def test_input_folder_and_environment_reach_the_command(tmp_path: Path) -> None:
    done = sh(
        "cat; pwd; echo $GREETING; test -n $PATH && echo path",
        input="a\nb\n",
        cwd=tmp_path,
        env={"GREETING": "hi"},
    )
    assert done.stdout == f"a\nb\n{tmp_path}\nhi\npath\n"


def test_lines_of_stderr_are_told_as_they_come() -> None:
    told: list[str] = []
    sh("echo 1 >&2; echo no; echo 2 >&2", on_line=told.append)
    assert told == ["1", "2"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert sh(r"printf 'a\377b'").stdout == "a�b"


def test_a_failure_repeats_the_end_of_what_the_command_said() -> None:
    with pytest.raises(ProcessError) as caught:
        sh(
            "echo x; i=0; while [ $i -lt 999 ]; do echo line $i >&2; i=$((i+1)); done; exit 4",
            remedy="mend it",
        )
    problem = caught.value
    assert problem.message.endswith("line 998")
    assert "ended with 4" in problem.message
    assert "line 0\n" not in problem.output
    assert (problem.returncode, problem.remedy, problem.retryable) == (4, "mend it", False)


def test_without_stderr_the_end_of_stdout_is_repeated() -> None:
    with pytest.raises(ProcessError) as caught:
        sh("echo only here; exit 1")
    assert (caught.value.returncode, caught.value.output) == (1, "only here")


def test_a_missing_program_is_named_with_what_to_do() -> None:
    with pytest.raises(ProcessError) as caught:
        SystemRunner().run(["meshlab-no-such-program", "x"], timeout=1)
    assert caught.value.argv == ("meshlab-no-such-program", "x")
    assert "install meshlab-no-such-program" in caught.value.remedy
    assert caught.value.returncode is None


def test_a_missing_folder_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ProcessError) as caught:
        sh("true", cwd=tmp_path / "none")
    assert str(tmp_path / "none") in caught.value.message and str(tmp_path / "none") in caught.value.remedy


def test_a_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # The grandchild ignores SIGTERM and outlives its parent: only SIGKILL ends it.
    script = f"(trap '' TERM; echo ready >&2; while :; do sleep 1; done) & echo $! $$ > {pids}; wait"
    with pytest.raises(ProcessError) as caught:
        sh(script, timeout=1.5)
    assert "ran past its deadline" in caught.value.message
    assert (caught.value.output, caught.value.returncode, caught.value.retryable) == ("ready", None, True)
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_a_command_that_does_not_read_its_input_keeps_its_deadline() -> None:
    with pytest.raises(ProcessError) as caught:
        sh("exec sleep 60", input="x" * 1_000_000, timeout=0.2)
    assert (caught.value.returncode, caught.value.retryable) == (None, True)


def test_a_command_may_leave_its_input_unread() -> None:
    assert sh("exec 0<&-; echo done", input="x" * 1_000_000).stdout == "done\n"


def test_a_stop_event_ends_the_command() -> None:
    stop = threading.Event()
    with pytest.raises(ProcessError) as caught:
        sh("echo begun >&2; exec sleep 60", stop=stop, on_line=lambda line: stop.set())
    assert (caught.value.output, caught.value.returncode, caught.value.retryable) == ("begun", None, False)


def test_an_interrupted_run_leaves_no_child() -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        os.kill(os.getpid(), signal.SIGUSR1)

    def on_signal(signum: int, frame: object) -> None:
        raise Interrupted(signal.SIGTERM)

    before = signal.signal(signal.SIGUSR1, on_signal)
    try:
        with pytest.raises(Interrupted):
            sh("echo $$ >&2; exec sleep 60", on_line=interrupt)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert gone(pids[0])


def test_a_spawned_program_goes_on_and_adds_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "program.log"
    for word in ("one", "two"):
        child = SystemRunner().spawn(["/bin/sh", "-c", f"echo {word}; echo {word} >&2"], log_file=log)
        assert child.wait(timeout=30) == 0
    assert log.read_text() == "one\none\ntwo\ntwo\n"
    child = SystemRunner().spawn(["/bin/sh", "-c", "sleep 60 & wait"], log_file=log)
    assert child.poll() is None
    end_group(child)
    assert child.returncode == -signal.SIGTERM
    end_group(child)  # twice is fine


def test_a_program_that_can_not_be_spawned_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProcessError) as caught:
        SystemRunner().spawn(["meshlab-no-such-program"], log_file=tmp_path / "log")
    assert caught.value.argv == ("meshlab-no-such-program",)
    assert "install meshlab-no-such-program" in caught.value.remedy


def test_a_process_lives_until_it_ends_or_its_pid_is_another_s(tmp_path: Path) -> None:
    child = SystemRunner().spawn([sys.executable, "-c", "input()"], log_file=tmp_path / "log")
    began = psutil.Process(child.pid).create_time()
    assert not lives(child.pid, began - 3600)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, but not reaped: a zombie
    assert not lives(child.pid, began)
    child.wait()
    assert not lives(child.pid, began)
    me = psutil.Process()
    assert lives(me.pid, me.create_time())
