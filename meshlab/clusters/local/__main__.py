"""`python -m meshlab.clusters.local up|down|status`: the cluster alone, without a lab on it.

Plain lines on standard output. Exit codes: 0 fine, 2 bad input, 3 failed, 130 or 143 after a signal.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time

from pydantic import ValidationError

from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.local.preflight import problems
from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.errors import InputError, MeshlabError
from meshlab.core.progress import Update
from meshlab.core.signals import signals_set
from meshlab.core.text import pluralize
from meshlab.run.ledger import Entry
from meshlab.run.orphans import end_servers, forget


class Lines:
    """Prints progress as lines with the seconds since the start; a repeated line once."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, update: Update) -> None:
        """Print an update, unless its line is the last one again."""
        share = f" {update.percent:.0f} %" if update.percent is not None else ""
        text = f"{update.what}:{share} {update.detail}".rstrip()
        with self._lock:
            if self._last.get(update.what) != text:
                self._last[update.what] = text
                print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    machine, stop = Machine.here(), threading.Event()
    received = signals_set(stop)
    try:
        given = {name: value for name, value in vars(options).items() if value and name != "command"}
        settings = LocalSettings(**given)
        cluster = LocalCluster(settings, machine)
        if options.command == "up":
            return _up(cluster, settings, machine, stop)
        if options.command == "down":
            for pid in end_servers():
                print(f"ended the temporary Prefect server (process {pid}) of a run that was killed")
            cluster.down(progress=Lines())
            for run_id in forget(machine, Entry("cluster", settings.name, "local")):
                print(f"closed the ledger of run {run_id}, which was killed")
            return _say_left(cluster)
        return _status(cluster)
    except (InputError, ValidationError) as problem:
        print(problem, file=sys.stderr)
        return 2
    except MeshlabError as problem:
        print(problem, file=sys.stderr)
        return 128 + received[0] if received else 3


def _up(cluster: LocalCluster, settings: LocalSettings, machine: Machine, stop: threading.Event) -> int:
    found = problems(settings, machine)
    if found:
        raise InputError(found)
    ref = cluster.up(progress=Lines(), stop=stop)
    started = f"{pluralize(ref.nodes, 'nodes')} Ready {ref.started_seconds} s after the first process"
    print(f"cluster {ref.name} is up ({'adopted' if ref.adopted else started})")
    print(f"  export KUBECONFIG={ref.kubeconfig}")
    return 0


def _say_left(cluster: LocalCluster) -> int:
    left = cluster.inventory()
    if len(left):
        print(f"still there: {left.items}", file=sys.stderr)
        return 3
    print(f"cluster {cluster.layout.name}: nothing left")
    return 0


def _status(cluster: LocalCluster) -> int:
    status = cluster.status()
    print(f"cluster {cluster.layout.name}: {status.state if status else 'not running'}")
    for name, component in (status.components if status else {}).items():
        print(f"  {name}: {component['state']}, {component['restarts']} restarts")
    for kind, count in cluster.inventory().counts().items():
        print(f"  {count} {kind}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m meshlab.clusters.local", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("--name", help="name of the cluster (default: meshlab)")
    parser.add_argument("--nodes", help="number of nodes, 1 to 5 (default: 3)")
    parser.add_argument("--network", help="first two octets of its /16 (default: 10.177)")
    parser.add_argument("--network-policy", action="store_true", help="enforce NetworkPolicies")
    return parser


if __name__ == "__main__":
    sys.exit(main())
