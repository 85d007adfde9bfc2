"""What a team next door does while a night lasts: its objects come and go, and one of its proxies stands still."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from meshlab.core.errors import MeshlabError
from meshlab.core.waiting import wait
from meshlab.kube.apply import apply, delete
from meshlab.kube.client import Kube
from meshlab.kube.exec import run_in_pod

STAY, AWAY = 3.0, 1.0  # seconds that the objects are there, and are not
ENDS = 90.0  # seconds for the last objects to go
LEAST = 5  # rounds: a night in which less changed shows nothing
# By its name under /proc: an image need not have pidof.
FREEZE = 'for p in /proc/[0-9]*; do read -r n < $p/comm; [ "$n" = envoy ] && kill -STOP ${p#/proc/} && echo $n; done'


class Changing:
    """Makes and removes objects in a thread of its own, again and again, until it is left.

    Args:
        kubeconfig: Of the cluster.
        documents: The objects; with none, nothing is done.

    Attributes:
        rounds: How often all of them were made and removed.
        problem: What the last round that failed said.
    """

    def __init__(self, kubeconfig: Path, documents: Sequence[Mapping[str, Any]]) -> None:
        self.rounds, self.problem = 0, ""
        self._kubeconfig, self._documents = kubeconfig, documents
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="neighbours")

    def __enter__(self) -> Changing:
        if self._documents:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._documents:
            self._thread.join(ENDS)

    def wrong(self) -> list[str]:
        """Say, once it was left, why the night shows nothing of changing objects; nothing where it does."""
        if not self._documents:
            return []
        if self._thread.is_alive():
            return [f"the thread that changes objects did not end: {self.problem or 'it told nothing'}"]
        few = self.rounds < LEAST
        return [f"others' objects changed in {self.rounds} rounds only: {self.problem}"] * few

    def _work(self) -> None:
        kube = Kube.connect(self._kubeconfig, None)
        while not self._stop.is_set():
            try:
                refs = apply(kube, self._documents, timeout=20)
                self._stop.wait(STAY)
                delete(kube, refs, timeout=ENDS / 2)
                self.rounds += 1
            except MeshlabError as problem:  # a busy API server: the next round may do
                self.problem = problem.message
            self._stop.wait(AWAY)


def freeze(kube: Kube, namespace: str, selector: str) -> None:
    """Stop the Envoys of some pods, so that they acknowledge nothing any more.

    Args:
        kube: Client of the cluster.
        namespace: Of the pods.
        selector: Their label selector.
    """
    pods = wait(
        f"a Ready pod {selector}",
        lambda: [pod for pod in kube.pods(namespace, selector) if pod.is_ready],
        ready=bool,
        timeout=60,
    )
    for pod in pods:
        done = run_in_pod(kube, namespace, pod.name, "istio-proxy", ["sh", "-c", FREEZE], timeout=20)
        assert "envoy" in done.stdout, f"no Envoy was stopped in {pod.name}: {done.stdout}{done.stderr}"
