"""Runs istioctl, and returns what its JSON says as values."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from meshlab.clusters.local.files import sha256
from meshlab.core.errors import IstioError, ProcessError, SecretsWithheldError, UnknownFlagError
from meshlab.core.process import Completed, Runner, SystemRunner
from meshlab.istio.findings import Finding, findings_of

QUERY_TIMEOUT = 60.0  # seconds, for commands that only ask
REMOTE_FLAG = "--remote-contexts"  # of analyze
DOING = ("- Processing", "- Pruning")  # how lines of its progress begin
GRACE = 30.0  # seconds that istioctl gets beyond the readiness timeout it was given


@dataclass(frozen=True)
class MeshVersions:
    """What `istioctl version` knows.

    control_plane: (revision, version) of each istiod; data_plane: (proxy, version), proxy as `pod.namespace`. Both are
    empty without a reachable control plane, or when only the client was asked.
    """

    client: str
    client_revision: str
    control_plane: tuple[tuple[str, str], ...] = ()
    data_plane: tuple[tuple[str, str], ...] = ()


ENVOY, ZTUNNEL = "envoy", "ztunnel"  # kinds of proxies
ADDRESS, WORKLOAD = "istio.workload.Address", "istio.workload.Workload"  # types that ztunnel asks for


@dataclass(frozen=True)
class ProxyStatus:
    """One proxy as istiod sees it.

    name: `pod.namespace`. types: configuration type (CDS, LDS, …) → its state: SYNCED, NOT SENT (istiod has nothing for
    it), STALE (not acknowledged yet), ERROR (rejected). errors: type → what the proxy said when it rejected.
    """

    name: str
    namespace: str
    version: str
    types: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def pod(self) -> str:
        """The pod's name."""
        return self.name.removesuffix(f".{self.namespace}")

    @property
    def kind(self) -> str:
        """Which proxy it is, told by what it asks for: ztunnel knows workloads, and neither clusters nor listeners."""
        return ZTUNNEL if {ADDRESS, WORKLOAD} & self.types.keys() else ENVOY


class Istioctl:
    """istioctl, pointed at one cluster.

    Args:
        path: The program.
        kubeconfig: None for istioctl's own default.
        context: None for the kubeconfig's current one.
        runner: Starts it.
        planes: Tells revision and namespace of each control plane that has to be named, because istioctl asks that of
            the default tag alone; nothing where it finds all by itself.
    """

    def __init__(
        self,
        path: Path,
        kubeconfig: Path | None = None,
        context: str | None = None,
        runner: Runner | None = None,
        planes: Callable[[], Sequence[tuple[str, str]]] | None = None,
    ) -> None:
        self.path = path
        self.kubeconfig = kubeconfig
        self.context = context
        self._runner = runner or SystemRunner()
        self._planes = planes

    def _each_plane(self) -> list[list[str]]:
        """Flags for each call that together reach every control plane."""
        named = self._planes() if self._planes else ()
        return [[f"--revision={name}", f"--istioNamespace={home}"] for name, home in named] or [[]]

    def install(
        self,
        document: Mapping[str, Any],
        *,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
    ) -> str:
        """Run `istioctl install`: it applies, waits until all is Ready, and removes what is no longer wanted.

        Args:
            document: The IstioOperator, handed over without a file.
            timeout: Seconds until each component must be Ready.
            on_line: Told each line of its progress.
            stop: Ends it when it is set.

        Returns:
            What it printed.

        Raises:
            IstioError: It fails.
        """
        argv = ["install", "--skip-confirmation", f"--readiness-timeout={timeout:.0f}s", "--filename=-"]
        text = yaml.safe_dump(document)
        done = self._run(argv, timeout=timeout + GRACE, text=text, on_line=on_line, stop=stop)
        return done.stdout + done.stderr

    def generate(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the Kubernetes objects that `install` would apply. No cluster is asked.

        Raises IstioError for bad settings.
        """
        argv, text = ["manifest", "generate", "--filename=-"], yaml.safe_dump(document)
        done = self._run(argv, timeout=QUERY_TIMEOUT, text=text, cluster=False)
        # The CustomResourceDefinitions are long: Python's own loader takes seconds.
        return [each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each]

    def uninstall_purge(self, *, timeout: float) -> str:
        """Run `istioctl uninstall --purge`, which removes what was installed, of every revision. Returns what it printed.

        Raises IstioError.
        """
        done = self._run(["uninstall", "--purge", "--skip-confirmation"], timeout=timeout)
        return done.stdout + done.stderr

    def uninstall_revision(self, revision: str, *, timeout: float) -> str:
        """Remove what was installed of one revision, and nothing that others use.

        Args:
            revision: The revision; `default` is the one without a name.
            timeout: Seconds, at most.

        Returns:
            What istioctl printed.

        Raises:
            IstioError: It fails.
        """
        done = self._run(["uninstall", f"--revision={revision}", "--skip-confirmation"], timeout=timeout)
        return done.stdout + done.stderr

    def set_tag(self, tag: str, revision: str) -> None:
        """Let a revision tag lead to a revision, whatever it led to before.

        Args:
            tag: Its name; `default` is what the label istio-injection asks for.
            revision: The revision.

        Raises:
            IstioError: It fails.
        """
        words = ["tag", "set", tag, f"--revision={revision}", "--overwrite", "--skip-confirmation"]
        self._run(words, timeout=QUERY_TIMEOUT)

    def precheck(self) -> tuple[Finding, ...]:
        """Run `istioctl x precheck`: what speaks against an installation or an upgrade here. Raises IstioError."""
        # It ends with an error when it found something, which is an answer here.
        done = self._run(["x", "precheck", "--output=json"], timeout=QUERY_TIMEOUT, check=False)
        told = [each for one in _documents(done.stdout) for each in (one if isinstance(one, list) else [one])]
        if done.returncode != 0 and not told:
            raise self._refused(done.stderr.strip() or done.stdout.strip(), ["x", "precheck"])
        return findings_of(told)

    def version(self, *, remote: bool = True) -> MeshVersions:
        """Return versions of this program and (remote) of every istiod and proxy. Raises IstioError."""
        argv = ["version", "--output=json", f"--remote={str(remote).lower()}"]
        answers = [
            self._json(self._run([*argv, *flags], timeout=QUERY_TIMEOUT, cluster=remote))
            for flags in (self._each_plane() if remote else [[]])
        ]
        client = answers[0].get("clientVersion") or {}
        return MeshVersions(
            client=client.get("version", "unknown"),
            client_revision=client.get("revision", "unknown"),
            control_plane=tuple(
                (each.get("Revision", ""), (each.get("Info") or {}).get("version", "unknown"))
                for answer in answers
                for each in answer.get("meshVersion") or []
            ),
            data_plane=tuple(
                (each.get("ID", ""), each.get("IstioVersion", "unknown"))
                for answer in answers
                for each in answer.get("dataPlaneVersion") or []
            ),
        )

    def proxy_status(self) -> tuple[ProxyStatus, ...]:
        """Return every proxy that is connected to any istiod, sorted by name. Raises IstioError."""
        found = {}
        for flags in self._each_plane():
            done = self._run(["proxy-status", *flags, "--output=json"], timeout=QUERY_TIMEOUT)
            for answer in _documents(done.stdout):
                for resource in answer.get("resources") or []:
                    status = _proxy(resource.get("resource", resource))
                    found[status.name] = status
        return tuple(found[name] for name in sorted(found))

    def analyze(
        self,
        namespace: str | None = None,
        *,
        istio_namespace: str | None = None,
        own_cluster_only: bool = False,
    ) -> tuple[Finding, ...]:
        """Run `istioctl analyze`.

        Args:
            namespace: Where; None for all namespaces.
            istio_namespace: Where the control plane is; None for istioctl's own default.
            own_cluster_only: Keep it from making clients of the kubeconfigs that stand in the cluster.

        Returns:
            What it finds.

        Raises:
            SecretsWithheldError: The account may not read Secrets, without which it does not begin.
            UnknownFlagError: This build can't be kept away from them; it did nothing.
            IstioError: It fails.
        """
        scope = [f"--namespace={namespace}"] if namespace else ["--all-namespaces"]
        scope += [f"--istioNamespace={istio_namespace}"] if istio_namespace else []
        if own_cluster_only and not self.context:
            raise UnknownFlagError("istioctl can name this cluster alone only where its context is known")
        # A context that is named takes the place of the Secrets. Named is this cluster's own, which then is looked at twice.
        scope += [f"{REMOTE_FLAG}={self.context}"] if own_cluster_only else []
        # It ends with 79 when it found errors, which is an answer here.
        done = self._run(["analyze", *scope, "--output=json"], timeout=QUERY_TIMEOUT, check=False)
        if "secrets is forbidden" in done.stderr and done.returncode not in (0, 79):
            raise SecretsWithheldError("istioctl analyze reads Secrets, which this account may not")
        if own_cluster_only and f"unknown flag: {REMOTE_FLAG}" in done.stderr:
            raise UnknownFlagError(f"this istioctl does not know {REMOTE_FLAG}")
        if done.returncode not in (0, 79):
            raise self._refused(done.stderr.strip() or done.stdout.strip(), ["analyze"])
        answers = list(_documents(done.stdout))
        told = [each for one in answers for each in (one if isinstance(one, list) else [one])]
        return findings_of(told, twice=self.context if own_cluster_only else None)

    def checksum(self) -> str:
        """Return SHA-256 of the program, in hex. Raises IstioError when it can't be read."""
        try:
            return sha256(self.path)
        except OSError as problem:
            raise IstioError(
                f"{self.path} can't be read: {problem.strerror}", remedy="name a readable istioctl"
            ) from problem

    def _run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        text: str | None = None,
        check: bool = True,
        cluster: bool = True,
        on_line: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Completed:
        where = [f"--kubeconfig={self.kubeconfig}"] if cluster and self.kubeconfig else []
        where += [f"--context={self.context}"] if cluster and self.context else []
        try:
            return self._runner.run(
                [self.path, *argv, *where],
                timeout=timeout,
                check=check,
                input=text,
                on_line=on_line,
                stop=stop,
            )
        except ProcessError as problem:
            raise self._refused(problem.output or problem.message, argv, problem.retryable) from problem

    def _refused(self, said: str, argv: Sequence[str], retryable: bool = False) -> IstioError:
        return IstioError(
            f"istioctl {argv[0]} failed: {_problem(said)}",
            remedy=f"run it yourself to see all of its output: {self.path} {' '.join(argv)}",
            retryable=retryable,
        )

    def _json(self, done: Completed) -> dict[str, Any]:
        answers = list(_documents(done.stdout))
        if len(answers) != 1 or not isinstance(answers[0], dict):
            raise self._refused(f"its answer is not JSON: {done.stdout[:200]!r}", done.argv[1:])
        return answers[0]


def _problem(said: str) -> str:
    """What istioctl says of its end: without the ship that it draws, and without what it was doing before."""
    lines = [line.rstrip() for line in said.splitlines() if any(map(str.isalnum, line))]
    told = [line for line in lines if not line.startswith(DOING)]
    return "\n".join(told or lines)


def _documents(text: str) -> Iterator[Any]:
    """The JSON documents that are written one after the other in a text (one per istiod)."""
    decoder = json.JSONDecoder()
    position = 0
    while found := re.compile(r"[{\[]").search(text, position):
        start = found.start()
        try:
            document, position = decoder.raw_decode(text, start)
        except ValueError as problem:
            raise IstioError(
                f"istioctl's answer is not JSON: {text[start : start + 200]!r}",
                remedy="use an istioctl that knows --output=json for this command (1.20 or newer)",
            ) from problem
        yield document


def _proxy(resource: Mapping[str, Any]) -> ProxyStatus:
    """A proxy from an xDS ClientConfig, as istiod fills it (pilot/pkg/xds/statusgen.go)."""
    node = resource.get("node") or {}
    meta = node.get("metadata") or {}
    types: dict[str, str] = {}
    errors: dict[str, str] = {}
    for each in resource.get("genericXdsConfigs") or []:
        name = short_type(each.get("typeUrl", ""))
        # protojson leaves a field out that has its zero value, UNKNOWN.
        types[name] = each.get("configStatus", "UNKNOWN").replace("_", " ")
        if each.get("errorState"):
            errors[name] = each["errorState"].get("details", "no reason given")
    return ProxyStatus(
        name=node.get("id", ""),
        namespace=meta.get("NAMESPACE", ""),
        version=meta.get("ISTIO_VERSION", "unknown"),
        types=types,
        errors=errors,
    )


SHORT_TYPES = {
    "type.googleapis.com/envoy.config.cluster.v3.Cluster": "CDS",
    "type.googleapis.com/envoy.config.listener.v3.Listener": "LDS",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment": "EDS",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration": "RDS",
    "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig": "ECDS",
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret": "SDS",
}


def short_type(url: str) -> str:
    """Return CDS, LDS, EDS, RDS, ECDS or SDS for an xDS type URL; its last part for any other."""
    return SHORT_TYPES.get(url, url.rsplit("/", 1)[-1])
