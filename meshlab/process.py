"""The one seam to other programs: everything that starts a process goes through a `Runner`."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from meshlab.errors import ProcessError

log = logging.getLogger(__name__)
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
    ) -> Completed: ...

    def spawn(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        log_file: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        new_session: bool = True,
    ) -> subprocess.Popen[bytes]: ...


class SystemRunner:
    """The machine's own programs."""

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
        """Run a command to its end and return what it said.

        timeout: seconds; past it, or when `stop` is set, the command's whole process group is ended.
        env: added to this process's environment. on_line: called with each line of stderr as it comes (for
        progress). check: raise on a return code other than 0. remedy: what the reader should do when it
        fails. Raises ProcessError when the program is missing, fails (with check), is stopped, or runs past
        its timeout.
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
                text=True,
                errors="replace",
                cwd=cwd,
                env={**os.environ, **env} if env else None,
                start_new_session=True,
            )
        except OSError as problem:
            raise ProcessError(
                f"{words[0]} can't be started: {problem.strerror or problem}",
                argv=words,
                remedy=remedy or f"install {Path(words[0]).name}, or put it on PATH",
            ) from problem
        out: list[str] = []
        err: list[str] = []
        readers = [
            threading.Thread(target=_read, args=(child.stdout, out, None), daemon=True),
            threading.Thread(target=_read, args=(child.stderr, err, on_line), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            ended = _feed_and_await(child, input, start + timeout, stop)
        except BaseException:  # a signal handler's exception must not leave the child behind
            end_group(child)
            raise
        for reader in readers:
            reader.join(timeout=5)
        done = Completed(words, child.returncode, "".join(out), "".join(err), time.monotonic() - start)
        if ended:
            raise ProcessError(
                f"{words[0]} {ended} after {done.seconds:.0f} s",
                argv=words,
                output=(done.stderr or done.stdout)[-TAIL:],
                remedy=remedy,
                retryable=ended == "ran past its deadline",
            )
        if check and done.returncode != 0:
            tail = (done.stderr.strip() or done.stdout.strip())[-TAIL:]
            raise ProcessError(
                f"{' '.join(words)[:300]} ended with {done.returncode}: {tail}",
                argv=words,
                returncode=done.returncode,
                output=tail,
                remedy=remedy,
            )
        return done

    def spawn(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        log_file: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        new_session: bool = True,
    ) -> subprocess.Popen[bytes]:
        """Start a program that goes on running; its output is appended to `log_file`.

        Raises ProcessError if it is missing.
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
                raise ProcessError(
                    f"{words[0]} can't be started: {problem.strerror or problem}", argv=words
                ) from problem


def _read(pipe: IO[str] | None, into: list[str], on_line: Callable[[str], None] | None) -> None:
    assert pipe is not None
    for line in pipe:
        into.append(line)
        if on_line:
            on_line(line.rstrip("\n"))


def _feed_and_await(
    child: subprocess.Popen[str], text: str | None, deadline: float, stop: threading.Event | None
) -> str:
    """Wait for the child; returns "" when it ended by itself, else why it was ended."""
    if text is not None:
        assert child.stdin is not None
        try:
            child.stdin.write(text)
            child.stdin.close()
        except BrokenPipeError:
            log.debug("the command closed its input early")
    while True:
        try:
            child.wait(timeout=max(0.0, min(0.25 if stop else 3600.0, deadline - time.monotonic())))
            return ""
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set():
                end_group(child)
                return "was stopped"
            if time.monotonic() >= deadline:
                end_group(child)
                return "ran past its deadline"


def end_group(child: subprocess.Popen[str] | subprocess.Popen[bytes], grace: float = 3.0) -> None:
    """End a process group that we started: SIGTERM, and SIGKILL after `grace` seconds."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, signum)
        except ProcessLookupError:
            break
        try:
            child.wait(timeout=grace)
            break
        except subprocess.TimeoutExpired:
            continue
