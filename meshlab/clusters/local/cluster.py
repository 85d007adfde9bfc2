"""The local cluster as a provider: up, inventory, collect_logs, down."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from meshlab.clusters.base import ClusterRef, Leftovers
from meshlab.clusters.local import (
    archives,
    cell,
    certificates,
    containerd,
    controlplane,
    dns,
    golden,
    imports,
    inotify,
    inventory,
    istio_cni,
    materials,
    network,
    network_policy,
    node,
)
from meshlab.clusters.local.api import Api
from meshlab.clusters.local.cgroups import SYSTEM, Hierarchies
from meshlab.clusters.local.components import Plan
from meshlab.clusters.local.files import tail
from meshlab.clusters.local.layout import NETNS_DIR, Layout, NodeLayout
from meshlab.clusters.local.materials import Materials
from meshlab.clusters.local.oci import ImageSpec
from meshlab.clusters.local.remove import remove
from meshlab.clusters.local.state import Record, State
from meshlab.clusters.local.supervisor import Status
from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.errors import ClusterError, MeshlabError
from meshlab.core.process import Runner, SystemRunner
from meshlab.core.progress import Progress, Update, silent
from meshlab.core.text import pluralize
from meshlab.core.waiting import SystemClock, wait

log = logging.getLogger(__name__)
ADOPT_TIMEOUT = 5.0  # seconds that a running cluster gets to show that it is healthy


class LocalCluster:
    """A cluster on this machine.

    Args:
        settings: Of the cluster.
        machine: This machine: its cache and state folders, its PATH.
        run_id: The run that uses it (claims it), "" for nobody in particular.
        addons: Names of addons whose images the nodes should hold from the start, as far as their binaries are
            compiled; `add_images` brings the others.
        runner: Starts processes.
    """

    def __init__(
        self,
        settings: LocalSettings,
        machine: Machine,
        *,
        run_id: str = "",
        addons: Sequence[str] = (),
        runner: Runner | None = None,
    ) -> None:
        self.settings = settings
        self.machine = machine
        self.run_id = run_id
        self.addons = tuple(addons)
        self.runner = runner or SystemRunner()
        self.layout = Layout.of(settings, machine)
        self.state = State(self.layout)
        self.hierarchies = Hierarchies.here()
        self._launched: int | None = None  # the supervisor, once it was seen

    def up(self, *, progress: Progress = silent, stop: threading.Event | None = None) -> ClusterRef:
        """Make the cluster, or adopt it where it runs, is healthy and was made from the same things.

        The images of `image_archives` are brought to every node, of an adopted cluster too. What was half made when it failed
        stays for `collect_logs`; `down` removes it, and so does the next `up`.

        Args:
            progress: Gets what is being done.
            stop: Ends it when it is set.

        Returns:
            The cluster, with every node Ready.

        Raises:
            ClusterBusyError: Another run uses it, starts it or removes it.
            ClusterError: A component keeps exiting, or it was stopped.
            BuildError: A binary or an image can't be made.
            ProcessError: A command failed.
            WaitTimeout: The nodes do not become Ready.
            InputError: An image archive is not usable.
        """
        self.claim()
        brought = [archives.read(path) for path in self.settings.image_archives]
        ref = self._up(progress, stop)
        if not brought:
            return ref
        self.add_archives(brought, progress=progress)
        return replace(self._ref(adopted=ref.adopted), started_seconds=ref.started_seconds)

    def _up(self, progress: Progress, stop: threading.Event | None) -> ClusterRef:
        with self.state.locked():
            adopted = self._adopt()
        if adopted is not None:
            self.add_images(
                materials.addon_images(self.machine, self.addons, runner=self.runner, progress=progress),
                stop=stop,
            )
            inotify.give(self.state, self.settings.inotify_instances)
            return self._ref(adopted=True)
        also = self._also()
        ready = materials.gather(
            self.machine, self.addons, runner=self.runner, progress=progress, stop=stop, also=also
        )
        with self.state.locked():
            adopted = self._adopt()  # another run may have made it during the compile
            if adopted is not None:
                return adopted
            self._clean(progress)
            return self._start(ready, progress, stop)

    def _start(self, ready: Materials, progress: Progress, stop: threading.Event | None) -> ClusterRef:
        layout, settings = self.layout, self.settings
        users = network_policy.users(settings)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("keys and certificates", lambda: certificates.write_all(layout, users=users)),
            ("network", lambda: network.build(layout, self.runner)),
            ("network policies", lambda: network_policy.prepare(layout, settings, self.runner)),
            ("cgroups", lambda: self.hierarchies.make(layout.cgroup, [SYSTEM, *layout.node_cgroups])),
            ("nodes", lambda: self._prepare_nodes(ready)),
            ("control plane", lambda: self._write_plan(ready)),
        ]
        self.state.write(self._new_record())
        inotify.give(self.state, self.settings.inotify_instances)

        def tell(done: int, detail: str) -> None:
            progress(Update("start the cluster", done, len(steps) + 2, detail))

        for done, (what, step) in enumerate(steps):
            tell(done, what)
            step()
            _check(stop)
        began = time.monotonic()
        tell(len(steps), "components")
        cell.launch(layout, self.runner)
        self._await_nodes(ready, lambda text: tell(len(steps), text[:120]), stop)
        seconds = round(time.monotonic() - began, 2)
        self.state.note_images(spec.reference for spec in ready.specs)
        self.state.note_started(seconds)
        tell(len(steps) + 2, f"{pluralize(layout.node_count, 'nodes')} Ready in {seconds:.1f} s")
        return self._ref(adopted=False, seconds=seconds)

    def _prepare_nodes(self, ready: Materials) -> None:
        (self.layout.root / "tmp").mkdir(parents=True, exist_ok=True)

        def prepare(one: NodeLayout) -> None:
            golden.clone(ready.golden, one.containerd_root, runner=self.runner)
            node.prepare(self.layout, one, sandbox_image=ready.sandbox_image, cni=self.settings.cni)

        self._on_every_node(prepare)

    def _on_every_node(self, work: Callable[[NodeLayout], None]) -> None:
        with ThreadPoolExecutor(max_workers=len(self.layout.nodes)) as pool:
            list(pool.map(work, self.layout.nodes))

    def _write_plan(self, ready: Materials) -> None:
        layout = self.layout
        controlplane.prepare(layout)
        components = controlplane.components(layout, ready.binaries)
        for one in layout.nodes:
            components += node.components(layout, one, ready.binaries)
        components += network_policy.components(layout, self.settings, ready.binaries)
        Plan(
            name=layout.name,
            root=str(layout.root),
            status=str(layout.status),
            cgroup=layout.cgroup,
            components=tuple(components),
        ).write(layout.plan)

    def _await_nodes(
        self, ready: Materials, on_change: Callable[[str], None], stop: threading.Event | None
    ) -> None:
        """Wait for Ready nodes. CoreDNS is applied meanwhile, so that it starts as soon as a node can take it."""
        api, timeout = Api(self.layout), self.settings.start_timeout
        given_up = threading.Event()
        first = [*map(node.registration, self.layout.nodes), *dns.documents(self.layout, ready.dns_image)]
        first += network_policy.documents(self.settings)

        def judge(nodes: dict[str, str]) -> MeshlabError | None:
            _check(stop)
            return self._failure()

        with ThreadPoolExecutor(max_workers=1) as pool:
            applied = pool.submit(api.apply_first, first, timeout=timeout, stop=given_up)
            try:
                wait(
                    pluralize(self.layout.node_count, "Ready nodes"),
                    lambda: api.node_states(),
                    ready=lambda nodes: list(nodes.values()).count("Ready") == self.layout.node_count,
                    error=judge,
                    describe=lambda nodes: ", ".join(
                        f"{name} {what}" for name, what in sorted(nodes.items())
                    ),
                    timeout=timeout,
                    delay=0.1,
                    clock=SystemClock(stop),
                    remedy=f"read {self.layout.logs}, or give it more time (--set local.start_timeout=…)",
                    on_change=on_change,
                )
            except BaseException:
                given_up.set()  # else leaving the pool waits for CoreDNS to be applied
                raise
            applied.result()

    def _failure(self) -> ClusterError | None:
        """Why the cluster can't come up, None while it still may."""
        status = Status.read(self.layout.status)
        if status is not None and status.failed:
            return ClusterError(
                f"{status.failed} keeps exiting: {status.reason}",
                remedy=f"read {self.layout.logs / status.failed}.log",
            )
        self._launched = inventory.launched(self.layout, self._launched)
        if self._launched is None:
            log_file = self.layout.logs / "supervisor.log"
            return ClusterError(f"the supervisor ended: {tail(log_file, 1500)}", remedy=f"read {log_file}")
        return None

    def _adopt(self) -> ClusterRef | None:
        """The running cluster, where it is healthy and what the settings ask for."""
        record = self.state.record()
        whole = record is not None and record.started_seconds is not None and record.key == self._key()
        return self._ref(adopted=True) if whole and self._healthy() else None

    def _healthy(self) -> bool:
        """Whether supervisor, components and nodes are well, at the latest after ADOPT_TIMEOUT seconds."""
        if inventory.launched(self.layout) is None or not self.layout.kubeconfig.exists():
            return False
        api = Api(self.layout)

        def look() -> bool:
            status = Status.read(self.layout.status)
            well = status is not None and status.state == "running"
            nodes = api.node_states() if well else {}
            return list(nodes.values()).count("Ready") == self.layout.node_count

        try:
            return wait(
                "the running cluster to be healthy", look, ready=bool, timeout=ADOPT_TIMEOUT, delay=0.2
            )
        except MeshlabError as problem:
            log.info("cluster %s is not adopted: %s", self.layout.name, problem.message)
            return False

    def add_images(self, specs: Sequence[ImageSpec], *, stop: threading.Event | None = None) -> None:
        """Bring images to every running node, as far as it has none of that name.

        Args:
            specs: The images.
            stop: Ends it when it is set.

        Raises:
            ProcessError: The import failed.
            BuildError: An image can't be made.
        """
        if not specs:
            return

        def add(one: NodeLayout) -> None:
            held = containerd.image_names(one.socket, runner=self.runner)
            missing = [spec for spec in specs if spec.reference not in held]
            if missing:
                golden.import_into(one.socket, missing, runner=self.runner, stop=stop)

        self._on_every_node(add)
        self.state.note_images(spec.reference for spec in specs)

    def add_archives(
        self, brought: Sequence[archives.ImageArchive], *, progress: Progress = silent
    ) -> tuple[str, ...]:
        """Bring every image of some archives to every running node. Where that fails, no node keeps some of them only.

        Args:
            brought: The archives, as `archives.read` found them.
            progress: Gets what is being done.

        Returns:
            The references that pods name.

        Raises:
            ProcessError: The import failed.
        """
        references = tuple(reference for archive in brought for reference in archive.images)

        progress(Update("image archives", 0, 1, f"importing {', '.join(references)}"))
        imports.bring(brought, [one.socket for one in self.layout.nodes], runner=self.runner)
        self.state.note_images(references)
        progress(Update("image archives", 1, 1, f"{pluralize(len(references), 'images')} on every node"))
        return references

    def inventory(self) -> Leftovers:
        """Return what exists of the cluster now: processes, mounts, namespaces, links, cgroups, folders."""
        return inventory.take(self.layout, self.state.record(), self.hierarchies)

    def status(self) -> Status | None:
        """Return what the supervisor says, None without one."""
        return Status.read(self.layout.status) if inventory.launched(self.layout) is not None else None

    def collect_logs(self, directory: Path) -> Sequence[Path]:
        """Copy the components' logs and the supervisor's status into `directory`; no keys."""
        directory.mkdir(parents=True, exist_ok=True)
        found = [*sorted(self.layout.logs.glob("*.log")), self.layout.status, self.layout.plan]
        return [Path(shutil.copy2(path, directory / path.name)) for path in found if path.exists()]

    def down(self, *, progress: Progress = silent) -> None:
        """Remove the cluster, whatever is left of it. Running it again, or without a cluster, is fine.

        Raises ClusterBusyError when another living run uses it, ClusterError when something can't go.
        """
        self.state.refuse_others(self.run_id)
        with self.state.locked():
            self._clean(progress)
        self.release()

    def claim(self, run_id: str | None = None, pid: int | None = None) -> None:
        """Note which run uses the cluster. Without a run, only make sure that no other one does.

        Args:
            run_id: The run; the one that this object was made with where not given.
            pid: The run's process, this one where not given.

        Raises:
            ClusterBusyError: Another run, which lives, uses it.
        """
        self.run_id = self.run_id if run_id is None else run_id
        if self.run_id:
            self.state.claim(self.run_id, pid)
        else:
            self.state.refuse_others("")

    def release(self) -> None:
        """Give the cluster up; it may go on running."""
        self.state.release(self.run_id)

    def _clean(self, progress: Progress) -> None:
        record, others = self.state.record(), self.state.neighbours()
        remove(self.layout, record, self.hierarchies, self.runner, neighbours=others, progress=progress)

    def _key(self) -> str:
        return materials.key(self.layout, also=self._also())

    def _also(self) -> tuple[str, ...]:
        """What is compiled for this cluster beside the stage `cluster`."""
        return (*network_policy.stages(self.settings), *istio_cni.stages(self.settings))

    def _new_record(self) -> Record:
        layout = self.layout
        return Record(
            key=self._key(),
            nodes=layout.node_count,
            network=layout.network,
            namespaces=layout.namespaces,
            link=layout.host_link,
            cgroup=layout.cgroup,
            made_netns_dir=not NETNS_DIR.exists() or self.state.neighbour_made_netns_dir(),
        )

    def _ref(self, *, adopted: bool, seconds: float | None = None) -> ClusterRef:
        return ClusterRef(
            provider="local",
            name=self.layout.name,
            kubeconfig=self.layout.kubeconfig,
            context=self.layout.name,
            nodes=self.layout.node_count,
            endpoint=self.layout.endpoint,
            adopted=adopted,
            started_seconds=seconds,
            images=record.images if (record := self.state.record()) else (),
        )


def _check(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise ClusterError("the start was stopped", remedy="`make down` removes what was made")
