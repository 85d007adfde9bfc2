"""The one live lab that all live tests share. They fail, with the reason, where this machine can't run it; they never skip."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshlab.config.settings import Machine
from tests.golden.record import artifacts_in, compare, read, record_of
from tests.live import host

ROOT = Path(__file__).parents[2]
NAME, NETWORK = "mltest", "10.181"
# Images are pulled by the tests of pulling only: which checks are made must not hang on the network.
LAB = ["--set", f"local.name={NAME}", "--set", f"local.network={NETWORK}", "--set", "local.pull=never"]
COLD = 45 * 60  # seconds: the first run of a machine compiles the cluster


# The lab that all share is taken down by test_adopted; what cuts labs off needs a machine without one.
ORDER = (
    "test_full_lab",
    "test_dashboards",
    "test_istio_module",
    "test_archives",
    "test_pages",
    "test_aggregation",
    "test_graph",
    "test_mtls",
    "test_authz",
    "test_audit",
    "test_load",
    "test_edge",
    "test_gateway_api",
    "test_restarts",
    "test_rotation",
    "test_sabotage",
    "test_existing",
    "test_nightly",
    "test_shapes",
    "test_night_faults",
    "test_night_prefect",
    "test_scheduled",
    "test_deployments",
    "test_kubernetes_job",
    "test_without_addons",
    "test_adopted",
    "test_own_shapes",
    "test_network_policy",
    "test_bypass",
    "test_removal",
    "test_interrupted",
    "test_signals",
    "test_operator_file",
    "test_pulled",
    "test_official",
    "test_resume",
    "test_upgrade",
    "test_gke",
    "test_debian",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules of this folder in ORDER, after all other tests; an unlisted module is a mistake."""
    live = [item for item in items if item.path.parent == Path(__file__).parent]
    others = [item for item in items if item not in live]
    items[:] = others + sorted(live, key=lambda item: ORDER.index(item.path.stem))


@dataclass(frozen=True)
class Ran:
    """A finished run of the command line."""

    code: int
    output: str
    directory: Path | None

    @property
    def result(self) -> dict[str, Any]:
        assert self.directory is not None, f"no run directory; the run said:\n{self.output}"
        return json.loads((self.directory / "result.json").read_text())

    def check(self, check_id: str) -> dict[str, Any]:
        """One check of the result."""
        return next(check for check in self.result["checks"] if check["id"] == check_id)


def command(*words: str, module: str = "flows.full_lab") -> list[str]:
    """A command line of the product, on the test's own cluster."""
    return [sys.executable, "-m", module, *words]


def run_lab(runs_dir: Path, *words: str, timeout: float = COLD, module: str = "flows.full_lab") -> Ran:
    """Run `python -m flows.full_lab` (or another flow) to its end, with a Prefect of its own (see `prefect_home`)."""
    runs_dir.mkdir(parents=True, exist_ok=True)
    known = set(runs_dir.iterdir())
    done = subprocess.run(
        command("--runs-dir", str(runs_dir), *LAB, *words, module=module),
        cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL,
        env=own_prefect(runs_dir),
    )  # fmt: skip
    made = [path for path in runs_dir.iterdir() if path not in known]
    return Ran(done.returncode, done.stdout + done.stderr, made[0] if made else None)


def prefect_home(runs_dir: Path) -> Path:
    """Where the temporary Prefect server of the runs in this folder keeps its database."""
    return runs_dir.parent / f"{runs_dir.name}-prefect"


@functools.cache
def empty_database() -> tempfile.TemporaryDirectory[str]:
    """A home of Prefect whose database is made: a server takes seconds for it at its first start."""
    home = tempfile.TemporaryDirectory(prefix="prefect-")
    words = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    subprocess.run(words, env=with_home(Path(home.name)), check=True, capture_output=True, timeout=120)
    return home


def with_home(home: Path) -> dict[str, str]:
    """This process's environment with another home of Prefect, and nothing else that is said to Prefect."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    return {**others, "PREFECT_HOME": str(home)}


def own_prefect(runs_dir: Path) -> dict[str, str]:
    """An environment in which the runs in this folder have a Prefect server of their own.

    Its database is made beforehand, as a user finds it from the second run on, unless its home is there already.
    """
    if not (home := prefect_home(runs_dir)).exists():
        shutil.copytree(empty_database().name, home)
    return with_home(home)


def differs(record: str, directory: Path) -> list[str]:
    """How a run, the only one in its folder, differs from a record of the baseline."""
    return compare(read(record), record_of(directory, artifacts_in(prefect_home(directory.parent))))


def down() -> subprocess.CompletedProcess[str]:
    """What `make down` runs."""
    return subprocess.run(
        command("down", "--name", NAME, "--network", NETWORK, module="meshlab.clusters.local"),
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def able_machine() -> None:
    """Say what this machine lacks, as a failure: a skipped proof would look like a proof."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail("the live tests share one lab: run them in one process (-n 0)", pytrace=False)
    lacks = []
    if not sys.platform.startswith("linux"):
        lacks.append("Linux")
    elif os.geteuid() != 0:
        lacks.append("root")
    elif subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        lacks.append("network namespaces (unshare --net)")
    if not any(Path("/sys/fs/cgroup").iterdir()):
        lacks.append("cgroups")
    lacks += [name for name in ("containerd", "runc", "ip", "nsenter") if shutil.which(name) is None]
    if lacks:
        pytest.fail(
            f"the live tests need, and this machine lacks: {', '.join(lacks)}; run `make setup` as root",
            pytrace=False,
        )


@pytest.fixture(scope="session")
def clean_host(able_machine: None) -> dict[str, list[str]]:
    """The machine before the first live test, with what an earlier, killed session left removed first."""
    down()
    return host.snapshot()


@pytest.fixture(scope="session")
def kept_lab(clean_host: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """A whole lab, left up for the tests that look at it, and removed at the end."""
    runs = tmp_path_factory.mktemp("runs")
    prefect_home(runs).mkdir()  # and empty, as a newcomer's is
    ran = run_lab(runs, "--keep")
    try:
        yield ran
    finally:
        assert down().returncode == 0


@pytest.fixture(scope="session")
def machine() -> Machine:
    """This machine's folders, as the product sees them."""
    return Machine.here()
