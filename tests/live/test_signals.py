"""SIGINT and SIGTERM at twenty moments of a lab each: it takes itself down, and ends with the signal's own code."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.live import host
from tests.live.conftest import LAB, command, down, own_prefect
from tests.live.test_interrupted import follow, started_steps

pytestmark = [pytest.mark.live, pytest.mark.long]
COMES_UP = "the cluster comes up"
# From before Prefect's flow to the last step before the teardown. A step is met as it begins, and again some way into it.
MOMENTS = (
    (COMES_UP, 0.0), (COMES_UP, 1.5), ("start-cluster", 0.0), ("find-istio", 0.0), ("install-istio", 0.0),
    ("install-istio", 0.7), ("install-istio", 2.0), ("install-istio", 4.0), ("label-namespace", 0.0),
    ("announce-tracing", 0.1), ("deploy-bookinfo", 0.2), ("deploy-prometheus", 1.0), ("deploy-jaeger", 0.5),
    ("check-istio", 0.0), ("check-app", 0.3), ("mixed-traffic", 0.1), ("fast-load", 0.8), ("gentle-load", 0.4),
    ("begin-strict", 0.2), ("check-mtls", 1.0),
)  # fmt: skip
assert len(MOMENTS) == 20


@pytest.mark.parametrize("signum", (signal.SIGINT, signal.SIGTERM), ids=("SIGINT", "SIGTERM"))
@pytest.mark.parametrize(("step", "seconds"), MOMENTS)
def test_a_signal_ends_a_run_with_its_own_code(
    signum: signal.Signals, step: str, seconds: float, clean_host: dict[str, list[str]], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"

    def reached() -> bool:
        return (
            any(runs.glob("*/evidence/cluster-up.jsonl")) if step == COMES_UP else step in started_steps(runs)
        )

    words = command("--runs-dir", str(runs), *LAB, "--set", "local.nodes=1")
    process = follow(words, reached, env=own_prefect(runs))
    try:
        time.sleep(seconds)  # the moment itself: nothing is looked at after it but the end of the run
        process.send_signal(signum)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 128 + signum, output[-4000:]
        assert host.difference(clean_host, host.snapshot()) == {}
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        down()
    written = [json.loads(path.read_text()) for path in runs.glob("*/result.json")]
    assert [each["verdict"] for each in written] in (["error"], []), "a run that was cut off does not pass"
    assert step == COMES_UP or written, "a flow that had begun writes its result"
