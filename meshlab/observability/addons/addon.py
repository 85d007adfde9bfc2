"""An addon that Istio ships: whose it is, whether its images can be had, how it gets Ready and is asked.

Each stands as one Deployment that is called like the addon; what differs is data, in a module of each addon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as replace_value
from typing import Any, Generic, Protocol, TypeVar

from meshlab.config.settings import LabConfig
from meshlab.core.access import OPEN, access_of
from meshlab.core.errors import KubeError, NotHereError
from meshlab.core.progress import Progress, silent
from meshlab.core.waiting import Clock, wait
from meshlab.istio.distribution import Distribution
from meshlab.istio.images import from_cluster, replace
from meshlab.istio.names import ADDONS_NAMESPACE
from meshlab.kube.apply import ObjectRef, apply, read_manifests
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from meshlab.kube.rollout import wait_deployments
from meshlab.observability.addons.images import why_no_images
from meshlab.observability.addons.places import (
    ADDON,
    Place,
    Signs,
    discover,
    from_settings,
    is_bare,
    judge_guess,
    settled,
    stands,
)


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
        section: Of the settings that say where it is asked, and of its credentials; its name where empty.
        signs: By what another one than Istio's addon is known, on a cluster of somebody else.
        apis: Makes a client for a place with another API than the addon's: the API's name → as `connect`.
        announced: Its Services are applied before it, as Istio ships them: they select its pods alone, by `app`.
    """

    name: str
    service: str
    port: int
    connect: Callable[..., C]
    answers: Callable[[C], object]
    change: Callable[[list[Object], Distribution, LabConfig], list[Object]] | None = None
    compiled: bool = False
    movable: bool = False
    section: str = ""
    signs: tuple[Signs, ...] = ()
    apis: Mapping[str, Callable[..., C]] = field(default_factory=dict)
    announced: bool = False

    @property
    def title(self) -> str:
        """The addon's name in a sentence."""
        return self.name.capitalize()

    def namespace(self, config: LabConfig) -> str:
        """Return the namespace that it stands in."""
        return config.prometheus.namespace if self.movable else ADDONS_NAMESPACE

    def shipped(self, distribution: Distribution) -> list[Object]:
        """Read the addon's objects as Istio ships them. Raises InputError where they can't be read."""
        return read_manifests(distribution.samples / "addons" / f"{self.name}.yaml")

    def manifest(
        self,
        distribution: Distribution,
        config: LabConfig,
        images: Sequence[str] = (),
        *,
        official: bool = False,
    ) -> list[Object]:
        """Read the addon's objects from the distribution's own samples.

        Args:
            distribution: Its samples are read.
            config: The settings. With embedded images, those of a compiled addon are replaced.
            images: References of compiled images.
            official: Leave the official images, which the cluster has.

        Returns:
            The objects, changed only where this addon must be.

        Raises:
            InputError: The manifest can't be read.
            IstioError: It looks different from what is expected, or one of its images has no compiled counterpart.
        """
        documents = self.shipped(distribution)
        if self.change is not None:
            documents = self.change(documents, distribution, config)
        replaced = self.compiled and config.image_source == "embedded" and not official
        return replace(documents, images) if replaced else documents

    def runs(self, kube: Kube, config: LabConfig) -> bool:
        """Tell whether it is there.

        Args:
            kube: Client of the cluster.
            config: The settings.

        Returns:
            True where it can be asked.
        """
        return self.place(kube, config, own=False) is not None

    def place(self, kube: Kube, config: LabConfig, *, own: bool = True) -> Place | None:
        """Find out where it is asked: as the settings say, else Istio's addon, else one that shows its signs.

        Args:
            kube: Client of the cluster.
            config: The settings. On a cluster of ours it is always Istio's addon.
            own: On a cluster of ours, say where it will be, though it may not be there yet.

        Returns:
            The place; None where there is none.

        Raises:
            KubeError: The API server does not answer.
        """
        addon = self._addon(config)
        if config.ours:
            return addon if own or self._stands(kube, config) else None
        section = self.asked_as
        given = getattr(config, section)
        api = getattr(given, "api", None)
        if api == "none":
            return None
        chosen = from_settings(section, given.url, given.service, api or "")
        if chosen is not None:
            return settled(kube, chosen)
        if self._stands(kube, config):
            return settled(kube, addon)
        return discover(kube, self.signs, near=(addon.namespace, ADDONS_NAMESPACE))

    def lacking(self, kube: Kube, config: LabConfig) -> str:
        """Say why a mesh of somebody else does not have it.

        Args:
            kube: Client of the cluster.
            config: The settings.

        Returns:
            The reason; "" where it is there, and where the run itself puts it there: that it is missing is a fault then.
        """
        if config.ours or self.place(kube, config) is not None:
            return ""
        return f"this mesh has no {self.title}: {self.absent(config)}"

    def absent(self, config: LabConfig) -> str:
        """Say why it has no place, where it has none."""
        if config.ours:
            return "this run has put none up"
        if getattr(getattr(config, self.asked_as), "api", None) == "none":
            return f"{self.asked_as}.api is none"
        return "no Service that we may read is known for one"

    @property
    def asked_as(self) -> str:
        """The section of the settings that says where it is asked, which names its credentials, too."""
        return self.section or self.name

    def set_remedy(self) -> str:
        """Say how it is told where it is asked."""
        section = self.asked_as
        return f"set {section}.url, or {section}.service as namespace/name:port"

    def _addon(self, config: LabConfig) -> Place:
        return Place(ADDON, namespace=self.namespace(config), service=self.service, port=self.port)

    def _stands(self, kube: Kube, config: LabConfig) -> bool:
        return stands(kube, self.name, self._addon(config))

    def is_external(self, config: LabConfig, kube: Kube) -> bool:
        """Tell whether an external cluster has it: it is used as it is, and nothing is applied.

        Its own Services alone, announced before it comes, are not it. Any other is somebody's, with pods or without.
        """
        place = None if config.ours else self.place(kube, config)
        alone = self.announced and place and place.found and place.where == self._addon(config).where
        return place is not None and not (alone and is_bare(kube, place, {"app": self.name}))

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
        where = self.namespace(config)
        if config.scope != "mesh":
            return f"there is no {self.title} in {where}, and the run may not put one there (--allow-changes)"
        if not config.ours and kube.get("apps/v1", "Deployment", self.name, where) is not None:
            return f"the Deployment {where}/{self.name} is somebody else's, and no Service is known for it"
        if self.compiled or config.image_source == "official":
            return ""
        return why_no_images(kube, self.manifest(distribution, config, ()), held)

    def need(
        self, config: LabConfig, distribution: Distribution, kube: Kube, held: Sequence[str] = ()
    ) -> None:
        """Raise KubeError where `why_not` has a reason; the arguments are its own."""
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
        official: bool = False,
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
            official: Its official images are on every node, and run in place of those that this project compiles.
            progress: Told of the rollout.
            clock: Of the waits.

        Returns:
            What was applied: nothing on an external cluster that has the addon.

        Raises:
            KubeError: It can't run here (ask `why_not` before).
            RolloutError: It does not get Ready; its text names the cause.
        """
        refs: tuple[ObjectRef, ...] = ()
        if self.is_external(config, kube):
            if not self._stands(kube, config):
                return refs  # somebody else sees to it; whether it answers shows when it is asked
        else:
            self.need(config, distribution, kube, held)
            unchanged = self.manifest(distribution, config, official=True) if official else None
            documents = unchanged or self._documents(config, distribution, kube, held, clock)
            refs = self.put(kube, config, documents)
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
        """Ask the addon: through a port-forward that goes on when its pod is replaced, or at the URL of the settings.

        Args:
            kube: Client of the cluster.
            config: The settings.

        Yields:
            A client, whose errors name why the port-forward leads nowhere.

        Raises:
            NotHereError: A mesh of somebody else has none.
            KubeError: There is no such Service.
        """
        place = self.place(kube, config)
        if place is None:
            raise NotHereError(self.lacking(kube, config), remedy=self.set_remedy())
        if access_of(self.asked_as).kind != OPEN.kind:
            judge_guess(place, self.title, remedy=self.set_remedy())
        if place.url:
            access = replace_value(access_of(self.asked_as), direct=True)
            yield self._connect(place)(place.url, access=access)
            return
        with PortForward(kube, namespace=place.namespace, port=place.port, service=place.service) as forward:
            yield self.client(forward, place)

    def client(self, forward: PortForward, place: Place | None = None) -> C:
        """Make a client behind an open port-forward, whose errors name why that leads nowhere.

        Args:
            forward: The port-forward.
            place: Where it leads; Istio's addon where not given.

        Returns:
            The client.
        """
        why = lambda: forward.last_error.message if forward.last_error else ""  # noqa: E731
        if place is None:
            return self.connect(forward.url, why=why)
        access = access_of(self.asked_as)
        url = forward.url + place.path
        if place.scheme == "https":
            url = url.replace("http://", "https://", 1)
            name = access.server_name or f"{place.service}.{place.namespace}.svc"
            access = replace_value(access, server_name=name)
        return self._connect(place)(url, why=why, access=access)

    def _connect(self, place: Place) -> Callable[..., C]:
        return self.apis.get(place.api, self.connect)

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
