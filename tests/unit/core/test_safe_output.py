"""A run's output on a full disk, or to a reader that went away."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from meshlab.core.safe_output import SafeOutput, flush_output

SCRIPT = """
import sys
from rich.console import Console
from meshlab.core.safe_output import SafeOutput, flush_output
console = Console(file=SafeOutput(sys.stdout))
for _ in range(2000):
    console.print("a line that somebody may read")
print("went on", file=sys.stderr)
flush_output(sys.stdout, sys.stderr)
sys.exit(3)
"""


def test_a_full_disk_changes_no_exit_code() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, "went on")


def test_a_reader_that_went_away_changes_no_exit_code() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, "went on")


def test_where_there_is_room_everything_is_written(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    console = Console(file=SafeOutput(stream), width=40)
    console.print("a line")
    flush_output(stream)
    assert stream.getvalue() == "a line\n" and not console.is_terminal
    assert not caplog.records
