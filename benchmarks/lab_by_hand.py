"""The document's commands alone, on the cluster and with the images that a run of the lab used."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.commands import LONGEST, NAME, NETWORK, Bench, program
from meshlab.app import bookinfo
from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import replace
from meshlab.kube.apply import apply
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from meshlab.observability.addons.jaeger import JAEGER
from meshlab.observability.addons.prometheus import PROMETHEUS

SCRIPT = Path(__file__).parent / "by_hand.sh"
READY_WITHIN = 300.0  # seconds, as the script waits


def prepare(run: Path, folder: Path, config: LabConfig) -> None:
    """Write the files that the script applies: the same operator, manifests and images as the run had.

    Args:
        run: The run's directory.
        folder: Gets the files.
        config: The settings of the run.

    Raises:
        MeshlabError: The run's steps tell not all of it.
    """
    installed, cluster = (result_of(run, step) for step in ("install-istio", "start-cluster"))
    images = [*_images(run), *cluster["images"]]
    istio = distribution_of(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "operator.json").write_text(json.dumps(installed["operator"]))
    _write(folder / "bookinfo.json", replace(bookinfo.manifests(istio), istio.images))
    for addon in (PROMETHEUS, JAEGER):
        _write(folder / f"{addon.name}.json", addon.manifest(istio, config, images))
    settings = {
        "PYTHON": sys.executable,
        "ISTIOCTL": str(istio.istioctl),
        "KUBECTL": program("kubectl"),
        "NAME": NAME,
        "NETWORK": NETWORK,
        "KUBECONFIG": cluster["kubeconfig"],
        "PYTHONPATH": str(SCRIPT.parents[1]),
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    (folder / "settings").write_text("\n".join([*lines, "export PYTHONPATH", ""]))


def result_of(run: Path, step: str) -> Mapping[str, Any]:
    """Read what a step of a run gave, as it is kept for --resume.

    Args:
        run: The run's directory.
        step: The step's name.

    Raises:
        MeshlabError: The run did not keep it.
    """
    path = run / "evidence" / "steps" / f"{step}.json"
    try:
        result: Mapping[str, Any] = json.loads(path.read_text())["result"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise MeshlabError(
            f"{path} does not tell what the step gave: {problem!r}", remedy="run the lab once more"
        ) from problem
    return result


def distribution_of(run: Path) -> Distribution:
    """Return the istioctl and samples that a run used. Raises MeshlabError where it did not keep them."""
    found = result_of(run, "find-istio")
    return Distribution(
        found["kind"],
        Path(found["istioctl"]),
        found["version"],
        Path(found["samples"]),
        tuple(found["images"]),
    )


def bookinfo_ready(run: Path) -> float:
    """Put Bookinfo and sleep on the cluster that is up, without a mesh, as a run of the lab on it before had them.

    Args:
        run: That run's directory.

    Returns:
        Seconds from the first object to the last Deployment that is ready.

    Raises:
        MeshlabError: The run's steps tell not all of it, or a Deployment does not get ready.
    """
    istio, began = distribution_of(run), time.monotonic()
    kube = Kube.connect(Path(result_of(run, "start-cluster")["kubeconfig"]))
    apply(kube, replace(bookinfo.manifests(istio), istio.images), namespace="default")
    wait_deployments(kube, "default", None, timeout=READY_WITHIN)
    return time.monotonic() - began


def _images(run: Path) -> list[str]:
    """References of the addons' images, which come after the cluster: as result.json names them."""
    try:
        named = json.loads((run / "result.json").read_text()).get("images", {})
    except (OSError, ValueError):
        return []
    return [each["image"] for each in named.values()]


def _write(path: Path, documents: Iterable[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)}))


def read(output: str) -> dict[str, float]:
    """Read the script's lines: step → seconds; `whole` is all of it.

    Args:
        output: What it printed.

    Raises:
        MeshlabError: It did not come to its end.
    """
    found = {}
    for line in output.splitlines():
        name, _, seconds = line.partition(" ")
        found[name] = float(seconds)
    if "whole" not in found:
        raise MeshlabError("the script did not come to its end", remedy="read the logs in its folder")
    return found


def one_turn(bench: Bench, folder: Path) -> dict[str, float]:
    """Run the script in a prepared folder.

    Args:
        bench: Starts it.
        folder: From `prepare`.

    Returns:
        Step → seconds.

    Raises:
        ProcessError: A command of it failed; what it said is told.
    """
    return read(bench.runner.run(["sh", str(SCRIPT), str(folder)], timeout=LONGEST).stdout)
