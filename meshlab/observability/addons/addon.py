"""An addon that Istio ships: whose it is, whether its images can be had, how it gets Ready and is asked.

Each stands as one Deployment that is called like the addon; what differs is data, in a module of each addon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.core.progress import Progress, silent
from meshlab.core.waiting import Clock, wait
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import containers, from_cluster, replace
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import ObjectRef, apply, read_manifests
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from meshlab.kube.rollout import wait_deployments


class Client(Protocol):
    """What asks an addon."""

    url: str


C = TypeVar("C", bound=Client)
Object = dict[str, Any]


@dataclass(frozen=True)
class Addon(Generic[C]):
    """An addon, as data.

    Attributes:
        name: Of its Deployment.
        service: Its Service.
        port: The Service's port.
        connect: Makes a client of a URL; `why` is as for `Getter`.
        answers: Asks the client something that only an addon in order answers; raises QueryError.
        change: Changes the objects of Istio's manifest in place, and returns those that are applied.
        compiled: This project compiles an image that replaces the official one.
        movable: It stands where `prometheus.namespace` says, not always in istio-system.
    """

    name: str
    service: str
    port: int
    connect: Callable[..., C]
    answers: Callable[[C], object]
    change: Callable[[list[Object], Distribution, LabConfig], list[Object]] | None = None
    compiled: bool = False
    movable: bool = False

    @property
    def title(self) -> str:
        """The addon's name in a sentence."""
        return self.name.capitalize()

    def namespace(self, config: LabConfig) -> str:
        """Return the namespace that it stands in."""
        return config.prometheus.namespace if self.movable else SYSTEM_NAMESPACE

    def shipped(self, distribution: Distribution) -> list[Object]:
        """Read the addon's objects as Istio ships them. Raises InputError where they can't be read."""
        return read_manifests(distribution.samples / "addons" / f"{self.name}.yaml")

    def manifest(
        self, distribution: Distribution, config: LabConfig, images: Sequence[str] = ()
    ) -> list[Object]:
        """Read the addon's objects from the distribution's own samples.

        Args:
            distribution: Its samples are read.
            config: The settings. With embedded images, those of a compiled addon are replaced.
            images: References of compiled images.

        Returns:
            The objects, changed only where this addon must be.

        Raises:
            InputError: The manifest can't be read.
            IstioError: It looks different from what is expected, or one of its images has no compiled counterpart.
        """
        documents = self.shipped(distribution)
        if self.change is not None:
            documents = self.change(documents, distribution, config)
        return (
            replace(documents, images) if self.compiled and config.image_source == "embedded" else documents
        )

    def runs(self, kube: Kube, config: LabConfig) -> bool:
        """Tell whether its Deployment exists.

        Args:
            kube: Client of the cluster.
            config: The settings.

        Returns:
            True where it can be asked.
        """
        return kube.get("apps/v1", "Deployment", self.name, self.namespace(config)) is not None

    def is_external(self, config: LabConfig, kube: Kube) -> bool:
        """Tell whether an external cluster has it: it is used as it is, and nothing is applied.

        Args:
            config: The settings.
            kube: Client of the cluster.

        Returns:
            True where nothing is to be applied.
        """
        return not config.ours and self.runs(kube, config)

    def why_not(
        self, config: LabConfig, distribution: Distribution, kube: Kube, held: Sequence[str] = ()
    ) -> str:
        """Say why it can't run here.

        Args:
            config: The settings.
            distribution: Istio's samples, the addon's manifest among them.
            kube: Client of the cluster.
            held: References of images that the cluster was given, beside those that its nodes report (late).

        Returns:
            The reason; "" where it can run, or runs already.

        Raises:
            InputError: Its manifest can't be read.
        """
        if self.is_external(config, kube):
            return ""
        if config.scope != "mesh":
            where = self.namespace(config)
            return f"there is no {self.title} in {where}, and the run may not put one there (--allow-changes)"
        if self.compiled or config.image_source == "official":
            return ""
        known = {*held, *_reported(kube)}
        wanted = images(self.manifest(distribution, config, ()))
        missing = [image for image in wanted if not any(same(image, each) for each in known)]
        if not missing:
            return ""
        return f"there is no registry, and no image archive holds {', '.join(missing)} (local.image_archives)"

    def need(
        self, config: LabConfig, distribution: Distribution, kube: Kube, held: Sequence[str] = ()
    ) -> None:
        """Raise where `why_not` has a reason.

        Args:
            config: As for `why_not`.
            distribution: As for `why_not`.
            kube: As for `why_not`.
            held: As for `why_not`.

        Raises:
            KubeError: It can't run here; its text says why.
        """
        if reason := self.why_not(config, distribution, kube, held):
            remedy = f"install Istio's {self.title} addon, bring its image, or allow changes: --allow-changes"
            raise KubeError(f"{self.title} can't run here: {reason}", remedy=remedy)

    def deploy(
        self,
        config: LabConfig,
        distribution: Distribution,
        kube: Kube,
        *,
        held: Sequence[str] = (),
        progress: Progress = silent,
        clock: Clock | None = None,
    ) -> tuple[ObjectRef, ...]:
        """Apply the addon and wait until it is Ready.

        Args:
            config: The settings.
            distribution: Istio's samples, the addon's manifest among them.
            kube: Client of the cluster.
            held: References of images that the cluster was given; where none is named, nodes are asked. (A node
                reports a new image late, so name it where it is known.)
            progress: Told of the rollout.
            clock: Of the waits.

        Returns:
            What was applied: nothing on an external cluster that has the addon.

        Raises:
            KubeError: It can't run here (ask `why_not` before).
            RolloutError: It does not get Ready; its text names the cause.
        """
        refs: tuple[ObjectRef, ...] = ()
        if not self.is_external(config, kube):
            self.need(config, distribution, kube, held)
            refs = self.put(kube, config, self._documents(config, distribution, kube, held, clock))
        timeout = config.app.rollout_timeout
        where = self.namespace(config)
        wait_deployments(kube, where, [self.name], timeout=timeout, progress=progress, clock=clock)
        return refs

    def put(
        self, kube: Kube, config: LabConfig, documents: Sequence[Mapping[str, Any]]
    ) -> tuple[ObjectRef, ...]:
        """Apply the addon's objects, with at least one pod.

        A manifest that names no number of replicas leaves one that was scaled to 0 at 0, and a Deployment
        that wants no pod counts as rolled out: it gets its one pod back.

        Args:
            kube: Client of the cluster.
            config: The settings.
            documents: The objects.

        Returns:
            What was applied.
        """
        refs, where = apply(kube, documents), self.namespace(config)
        found = kube.get("apps/v1", "Deployment", self.name, where)
        if found is not None and found["spec"].get("replicas") == 0:
            kube.patch("apps/v1", "Deployment", self.name, {"spec": {"replicas": 1}}, where)
        return refs

    @contextmanager
    def open(self, kube: Kube, config: LabConfig) -> Iterator[C]:
        """Ask the addon through a port-forward that goes on when its pod is replaced.

        Args:
            kube: Client of the cluster.
            config: The settings.

        Yields:
            A client, whose errors name why the port-forward leads nowhere.

        Raises:
            KubeError: There is no such Service.
        """
        with self.port_forward(kube, config) as forward:
            yield self.client(forward)

    def port_forward(self, kube: Kube, config: LabConfig) -> PortForward:
        """Make a port-forward to its Service, to be opened.

        Args:
            kube: Client of the cluster.
            config: The settings.

        Returns:
            It; a context manager.
        """
        return PortForward(kube, namespace=self.namespace(config), port=self.port, service=self.service)

    def client(self, forward: PortForward) -> C:
        """Return a client behind an open port-forward, whose errors name why that leads nowhere."""
        why = lambda: forward.last_error.message if forward.last_error else ""  # noqa: E731
        return self.connect(forward.url, why=why)

    def wait_answering(self, client: C, *, timeout: float, clock: Clock | None = None) -> object:
        """Wait until the addon answers.

        Args:
            client: Asks it.
            timeout: Seconds.
            clock: Of the wait.

        Returns:
            The answer: a version, or what the addon knows.

        Raises:
            WaitTimeout: It did not answer; its text names the last error.
        """
        return wait(
            f"{self.title} at {client.url} to answer",
            lambda: self.answers(client),
            ready=lambda _: True,
            describe=lambda _: "it answers",
            timeout=timeout,
            remedy="look at the log of its pod",
            clock=clock,
        )

    def _documents(
        self,
        config: LabConfig,
        distribution: Distribution,
        kube: Kube,
        held: Sequence[str],
        clock: Clock | None,
    ) -> list[Object]:
        known = tuple(held) or distribution.images
        if self.compiled and config.image_source == "embedded" and not known:
            return from_cluster(kube, lambda found: self.manifest(distribution, config, found), clock=clock)
        return self.manifest(distribution, config, known)


def images(documents: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the images that an addon needs, as its manifest names them."""
    return tuple(each["image"] for document in documents for each in containers(document))


def same(one: str, other: str) -> bool:
    """Tell whether two references mean one image: the registry may be left out, and a digest added.

    Args:
        one: A reference.
        other: Another one.

    Returns:
        True where they mean the same image.
    """
    a, b = one.partition("@")[0], other.partition("@")[0]
    return a == b or a.endswith(f"/{b}") or b.endswith(f"/{a}")


def _reported(kube: Kube) -> set[str]:
    return {
        name
        for node in kube.objects("v1", "Node")
        for image in node.get("status", {}).get("images") or []
        for name in image.get("names") or []
    }
