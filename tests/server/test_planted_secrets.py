"""A token, a private key, a kubeconfig and a JWT are planted in a run that fails; nothing that it leaves holds them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from meshlab.istio.distribution import NEEDED_SAMPLES
from tests.examples.secrets import KEY, KUBECONFIG, OPAQUE, TOKEN, encoded
from tests.fakes.api_server import FakeApiServer

ROOT = Path(__file__).parents[2]


def test_a_failing_run_leaves_none_of_it(tmp_path: Path) -> None:
    """A token, a private key, a kubeconfig and a JWT, said again by an API server in every refusal.

    Then everything that the run has left is searched: its directory, its output, its ledger, and Prefect's
    database.
    """
    said = f"MARKER {TOKEN} and {KEY} and {KUBECONFIG} and {OPAQUE} and {encoded(TOKEN)} and {encoded(KUBECONFIG)}"
    refusal: dict[tuple[str, str], tuple[int, Any]] = {
        ("GET", path): (403, {"kind": "Status", "message": f"{path}: {said}"})
        for path in ("/api/v1", "/apis")
    }
    with FakeApiServer(refusal) as server:
        path = server.kubeconfig(tmp_path / "planted.kubeconfig")
        content = yaml.safe_load(path.read_text())
        content["users"][0]["user"] = {"token": OPAQUE}
        path.write_text(yaml.safe_dump(content))
        left = tmp_path / "left"
        left.mkdir()
        done = _run(left, path)
    assert done.returncode not in (0, 2), done.stdout + done.stderr
    (left / "output.txt").write_text(done.stdout + done.stderr)
    found, marked, searched = _search(left)
    assert found == []
    # The control: what stood beside the secrets is found in the run's directory, its output and the database.
    assert searched >= 8 and {"output.txt", "journal.jsonl", "prefect.db"} <= marked, (searched, marked)


def _run(left: Path, kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    """`full_lab` against that server; what it keeps anywhere goes below `left`."""
    istio = left.parent / "istio" / "bin"
    istio.mkdir(parents=True)
    program = istio / "istioctl"
    program.write_text('#!/bin/sh\necho \'{"clientVersion": {"version": "1.30.0"}}\'\n')
    program.chmod(0o755)
    for name in NEEDED_SAMPLES:
        sample = istio.parent / "samples" / name
        sample.parent.mkdir(parents=True, exist_ok=True)
        sample.write_text("{}\n")
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MESHLAB_"))
    }
    environ |= {
        "PREFECT_HOME": str(left / "prefect"),
        "HOME": str(left / "home"),
        "PREFECT_LOGGING_LEVEL": "DEBUG",
    }
    environ |= {f"XDG_{kind}_HOME": str(left / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG", "DATA")}
    argv = [sys.executable, "-m", "flows.full_lab", "--cluster", "existing", "--kubeconfig", str(kubeconfig)]
    argv += ["--istioctl", str(program), "--runs-dir", str(left / "runs")]
    return subprocess.run(
        argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=900, check=False, stdin=subprocess.DEVNULL
    )  # fmt: skip


def _search(left: Path) -> tuple[list[str], set[str], int]:
    """Files that hold a planted secret (or a recognisable piece of it), names of those with the marker, and how many."""
    body = KEY.splitlines()[1]
    pieces = [TOKEN, TOKEN.split(".")[2], OPAQUE, body, body[:30], "kub3-c0nfig-token"]
    pieces += [
        encoded(TOKEN),
        encoded(OPAQUE),
        encoded(KEY)[40:100],
        encoded(KUBECONFIG)[:60],
        encoded(KUBECONFIG)[-60:],
    ]
    found, marked, searched = [], set(), 0
    for path in left.rglob("*"):
        if not path.is_file():
            continue
        searched += 1
        content = path.read_bytes()
        found += [f"{path.name}: {piece[:16]}" for piece in pieces if piece.encode() in content]
        if b"MARKER" in content:
            marked.add(path.name.removesuffix("-wal"))
    return found, marked, searched
