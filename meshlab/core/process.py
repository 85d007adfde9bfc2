"""The one seam to other programs: everything that starts a process goes through a `Runner`."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import psutil

from meshlab.core.cancellation import cleaning, stopping
from meshlab.core.errors import ProcessError, WaitTimeout
from meshlab.core.waiting import wait

log = logging.getLogger(__name__)
LATE = "ran past its deadline"
TAIL = 2000  # characters of output that an error repeats


@dataclass(frozen=True)
class Completed:
    """What a finished command left: argv, returncode, stdout and stderr as text, wall time in seconds."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


class Runner(Protocol):
    """Runs and starts programs.

    `SystemRunner` is the real one; tests bring their own, which refuses unknown commands.
    """

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout: float,
        check: bool = True,
        input: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
        remedy: str = "",
    ) -> Completed:
        """Run a command to its end; see `SystemRunner.run`.

        Args:
            argv: Program and arguments.
            timeout: Seconds for the whole command.
            check: Raise on a return code other than 0.
            input: What it reads on stdin.
            cwd: Its folder.
            env: Added to this process's environment.
            on_line: Called with each line of stderr.
            stop: Ends the command when it is set.
            remedy: What the reader should do when it fails.

        Returns:
            What it said.
        """

    def spawn(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        log_file: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        new_session: bool = True,
    ) -> subprocess.Popen[bytes]:
        """Start a program that goes on running; see `SystemRunner.spawn`.

        Args:
            argv: Program and arguments.
            log_file: Its output is appended here.
            cwd: Its folder.
            env: Added to this process's environment.
            new_session: It leads a process group of its own.

        Returns:
            The process.
        """


class SystemRunner:
    """The machine's own programs. grace: seconds between SIGTERM and SIGKILL, of a command that must end."""

    def __init__(self, *, grace: float = 3.0) -> None:
        self._grace = grace

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout: float,
        check: bool = True,
        input: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
        remedy: str = "",
    ) -> Completed:
        """Run a command to its end.

        Args:
            argv: Program and arguments.
            timeout: Seconds; past it, or when `stop` is set or the step's run ends, the command's whole
                process group is ended.
            check: Raise on a return code other than 0.
            input: What it reads on stdin.
            cwd: Its folder.
            env: Added to this process's environment.
            on_line: Called with each line of stderr as it comes, for progress.
            stop: Ends the command when it is set.
            remedy: What the reader should do when it fails.

        Returns:
            What it said.

        Raises:
            ProcessError: The program is missing, fails (with check), is stopped, or runs past its timeout.
        """
        words = tuple(os.fspath(a) for a in argv)
        log.debug("run: %s", " ".join(words))
        start = time.monotonic()
        try:
            child = subprocess.Popen(
                words,
                stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                cwd=cwd,
                env={**os.environ, **env} if env else None,
                start_new_session=True,
            )
        except OSError as problem:
            raise _not_started(words, cwd, problem, remedy) from problem
        out: list[str] = []
        err: list[str] = []
        try:
            threads = [
                threading.Thread(target=_read, args=(child.stdout, out, None), daemon=True),
                threading.Thread(target=_read, args=(child.stderr, err, on_line), daemon=True),
            ]
            if input is not None:
                # A thread of its own: a command that does not read must not outlive its deadline.
                threads.append(threading.Thread(target=_feed, args=(child.stdin, input), daemon=True))
            for thread in threads:
                thread.start()
            ended = _await(child, start + timeout, [each for each in (stop, stopping()) if each is not None])
            if ended:
                end_group(child, self._grace)
            for thread in threads:
                thread.join(timeout=5)
        except BaseException:  # a signal handler's exception must not leave the child behind
            end_group(child, self._grace)
            raise
        done = Completed(words, child.returncode, "".join(out), "".join(err), time.monotonic() - start)
        if not ended and (not check or done.returncode == 0):
            return done
        tail = (done.stderr.strip() or done.stdout.strip())[-TAIL:]
        said = f"{ended} after {done.seconds:.0f} s; it last said: {tail or 'nothing'}"
        raise ProcessError(
            f"{' '.join(words)[:300]} {said if ended else f'ended with {done.returncode}: {tail}'}",
            argv=words,
            returncode=None if ended else done.returncode,
            output=tail,
            remedy=remedy,
            retryable=ended == LATE,
        )

    def spawn(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        log_file: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        new_session: bool = True,
    ) -> subprocess.Popen[bytes]:
        """Start a program that goes on running.

        Args:
            argv: Program and arguments.
            log_file: Its output is appended here.
            cwd: Its folder.
            env: Added to this process's environment.
            new_session: It leads a process group of its own.

        Returns:
            The process.

        Raises:
            ProcessError: The program is missing.
        """
        words = tuple(os.fspath(a) for a in argv)
        log.debug("spawn: %s", " ".join(words))
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as sink:
            try:
                return subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env={**os.environ, **env} if env else None,
                    start_new_session=new_session,
                )
            except OSError as problem:
                raise _not_started(words, cwd, problem) from problem


def _not_started(
    words: tuple[str, ...], cwd: Path | None, problem: OSError, remedy: str = ""
) -> ProcessError:
    if cwd is not None and not cwd.is_dir():
        return ProcessError(
            f"{words[0]} can't be started in {cwd}: there is no such folder",
            argv=words,
            remedy=remedy or f"make the folder {cwd}",
        )
    return ProcessError(
        f"{words[0]} can't be started: {problem.strerror or problem}",
        argv=words,
        remedy=remedy or f"install {Path(words[0]).name}, or put it on PATH",
    )


def _read(pipe: IO[str], into: list[str], on_line: Callable[[str], None] | None) -> None:
    for line in pipe:
        into.append(line)
        if on_line:
            on_line(line.rstrip("\n"))


def _feed(pipe: IO[str], text: str) -> None:
    try:
        with pipe:
            pipe.write(text)
    except BrokenPipeError:
        log.debug("the command closed its input early")


def _await(child: subprocess.Popen[str], deadline: float, stops: Sequence[threading.Event]) -> str:
    """Wait for the child; returns "" when it ended by itself, else why it must be ended."""
    while True:
        try:
            child.wait(timeout=max(0.0, min(0.25 if stops else 3600.0, deadline - time.monotonic())))
            return ""
        except subprocess.TimeoutExpired:
            if any(stop.is_set() for stop in stops):
                return "was stopped"
            if time.monotonic() >= deadline:
                return LATE


def end_group(child: subprocess.Popen[str] | subprocess.Popen[bytes], grace: float = 3.0) -> None:
    """End a process group that we started: SIGTERM, then SIGKILL.

    Args:
        child: The group's leader.
        grace: Seconds between the two.
    """
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
        with suppress(WaitTimeout), cleaning():
            wait("the end", lambda: _group_ended(child), ready=bool, timeout=grace, delay=0.02)
        os.killpg(child.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(timeout=grace)


def _group_ended(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> bool:
    child.poll()  # reaps the leader, which would stay in its group as a zombie
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return True
    return False


def lives(pid: int, began: float) -> bool:
    """Tell whether a process still runs, and its pid is not another's.

    A zombie does not live. The kernel counts a begin from the boot, whose own moment wanders by a second.

    Args:
        pid: Its number.
        began: When it began, in seconds since the epoch.

    Returns:
        True where it runs.
    """
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - began) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_process(pid: int, began: float, grace: float) -> bool:
    """End a process: SIGTERM, so that it can leave in order, then SIGKILL.

    One that is gone, and a pid that is another's by now, are left alone.

    Args:
        pid: Its number.
        began: When it began, in seconds since the epoch.
        grace: Seconds between the two signals.

    Returns:
        Whether it lived.
    """
    if not lives(pid, began):
        return False
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):  # it may end by itself at any moment
        process = psutil.Process(pid)
        process.terminate()
        try:
            process.wait(grace)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(grace)
    return True
