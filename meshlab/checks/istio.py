"""The mesh: its command line tool, its control plane, its sidecars, and whether they all agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from meshlab.checks.base import judged
from meshlab.checks.cluster import is_unstamped, minor
from meshlab.core.text import pluralize
from meshlab.istio.control_plane import INJECTION_LABEL, REVISION_LABEL, SIDECAR
from meshlab.istio.istioctl import ADDRESS, ENVOY, ZTUNNEL, MeshVersions, ProxyStatus
from meshlab.istio.mesh import EGRESS, INGRESS, Mesh
from meshlab.kube.pods import PodSummary
from meshlab.report.tables import pod_rows
from meshlab.run.results import CheckResult, Table

NO_INJECTION = "sidecar.istio.io/inject"  # a pod label with the value "false" opts out
PROXY = SIDECAR  # the name of the container that is the sidecar or the gateway
# What the profiles that bring gateways must have: name → the label `istio` of its pods.
GATEWAYS: Mapping[str, str] = {
    "istio-ingressgateway": INGRESS,
    "istio-egressgateway": EGRESS,
}
WITH_GATEWAYS: Mapping[str, tuple[str, ...]] = {
    "demo": tuple(GATEWAYS),
    "default": ("istio-ingressgateway",),
    "preview": ("istio-ingressgateway",),
}
# What a proxy of a kind always has; of other types istiod may have nothing to send.
NEEDED_TYPES: Mapping[str, tuple[str, ...]] = {ENVOY: ("CDS", "LDS"), ZTUNNEL: (ADDRESS,)}
MAX_PROXY_LAG = 2  # minors that a proxy may be behind the control plane (Istio's supported skew)


def has_sidecar(pod: PodSummary) -> bool:
    """Whether a pod has a running kind of sidecar.

    An ordinary container, or an init container that goes on running.
    """
    return PROXY in pod.containers


def cli(
    path: Path,
    version: str,
    sha256: str,
    *,
    revision: str = "",
    wanted: str | None = None,
    expected_sha256: str | None = None,
) -> CheckResult:
    """Judge istioctl: it is there, knows its version, and is the file that was built or named.

    Evidence: path, version, sha256.

    Args:
        path: Of the file.
        version: What it says about itself.
        sha256: Of the file that runs.
        revision: The commit that it was built from.
        wanted: The version that the settings ask for.
        expected_sha256: What the build or download recorded, None where nothing did.

    Returns:
        The check.
    """
    problems = []
    if is_unstamped(version):
        problems.append(f"{path} says that its version is {version!r}")
    if wanted and version.lstrip("v") != wanted.lstrip("v"):
        problems.append(f"{path} is {version}, {wanted} was wanted")
    if expected_sha256 and sha256 != expected_sha256:
        problems.append(f"{path} has SHA-256 {sha256[:12]}…, {expected_sha256[:12]}… was recorded")
    recorded = "as recorded" if expected_sha256 else "none was recorded to compare with"
    evidence = {"path": str(path), "version": version, "revision": revision, "sha256": sha256}
    return judged(
        "istio.cli",
        problems,
        f"istioctl {version}, SHA-256 {sha256[:12]}… ({recorded})",
        evidence | {"expected_sha256": expected_sha256},
        remedy="build the distribution anew, or name another istioctl with --istioctl PATH",
    )


def components_of(mesh: Mesh, *, profile: str = "") -> dict[str, dict[str, str]]:
    """Name the components that the control plane must have: the one that serves us, and the gateways.

    Args:
        mesh: The facts of the mesh.
        profile: With which this run has installed it; empty where others did, or where more than a profile decided.

    Returns:
        Name → labels of its pods.
    """
    planes = [mesh.serving] if mesh.serving else list(mesh.control_planes)
    found = {each.name: labels_in(each.selector) for each in planes} or {
        mesh.istiod: labels_in(mesh.istiod_selector)
    }
    found |= {name: {"istio": GATEWAYS[name]} for name in WITH_GATEWAYS.get(profile, ())}
    used = (mesh.ingress_namespace, mesh.egress_namespace)
    return found | {each.name: {"istio": each.kind} for each in mesh.gateways if each.namespace in used}


def labels_in(selector: str) -> dict[str, str]:
    """Read a selector of equal labels."""
    return dict(each.split("=", 1) for each in selector.split(",") if "=" in each)


def control_plane(pods: Sequence[PodSummary], *, components: Mapping[str, Mapping[str, str]]) -> CheckResult:
    """Judge the control plane: each component has a pod, and every pod of it is Running and Ready.

    Evidence: table `pods` (every pod given), `components` (name → Ready pods).

    Args:
        pods: Of the namespaces where Istio runs.
        components: Name → labels of its pods.

    Returns:
        The check.
    """
    problems: list[str] = []
    ready: dict[str, int] = {}
    for name, labels in components.items():
        mine = [p for p in pods if labels.items() <= p.labels.items() and not p.deleting]
        bad = [p for p in mine if p.status != "Running" or not p.is_ready]
        ready[name] = len(mine) - len(bad)
        if not mine:
            problems.append(f"{name} has no pod")
        problems += [f"{name}: pod {p.name} is {p.status}, {p.ready} ready" for p in bad]
    if not components:
        problems.append("no component is expected, so nothing was checked")
    shown = ", ".join(f"{name} {count}" for name, count in ready.items())
    return judged(
        "istio.control-plane",
        problems,
        f"{pluralize(sum(ready.values()), 'pods')} of {pluralize(len(components), 'components')} Running and Ready ({shown})",
        {"pods": pod_rows(pods), "components": ready},
        remedy="`kubectl -n NAMESPACE describe pod NAME` and its log name the cause",
    )


def injection(
    namespace_labels: Mapping[str, Mapping[str, str]], namespace: str, pods: Sequence[PodSummary]
) -> CheckResult:
    """Judge injection: the namespace asks for it, and every pod in it really has a sidecar that is Ready.

    A pod whose label sidecar.istio.io/inject is "false" opted out; it is named and not judged. Evidence:
    tables `namespaces` (as `kubectl get ns -L istio-injection`) and `pods`, each with its sidecar.

    Args:
        namespace_labels: Every namespace → its labels.
        namespace: The application's.
        pods: Of `namespace`.

    Returns:
        The check.
    """
    namespaces: Table = [
        {
            "namespace": name,
            "istio-injection": labels.get(INJECTION_LABEL, ""),
            "istio.io/rev": labels.get(REVISION_LABEL, ""),
        }
        for name, labels in sorted(namespace_labels.items())
    ]
    mine = namespace_labels.get(namespace, {})
    asked = mine.get(INJECTION_LABEL) == "enabled" or bool(mine.get(REVISION_LABEL))
    living = [p for p in pods if not p.deleting and p.phase not in ("Succeeded", "Failed")]
    opted_out = [p.name for p in living if p.labels.get(NO_INJECTION) == "false"]
    judged_pods = [p for p in living if p.name not in opted_out]
    without = [p.name for p in judged_pods if not has_sidecar(p)]
    unready = [p for p in judged_pods if has_sidecar(p) and not p.is_ready]

    problems = []
    if namespace not in namespace_labels:
        problems.append(f"there is no namespace {namespace}")
    elif not asked:
        problems.append(f"namespace {namespace} has no label {INJECTION_LABEL}=enabled")
    if not judged_pods:
        problems.append(f"there is no pod in {namespace} that should have a sidecar")
    if without:
        problems.append(f"{len(without)} of {len(judged_pods)} pods have no sidecar: {', '.join(without)}")
    problems += [f"pod {p.name} has a sidecar but is not Ready: {p.status}, {p.ready}" for p in unready]
    good = len(judged_pods) - len(without) - len(unready)
    rows = [
        {**row, "sidecar": has_sidecar(pod), "opted_out": pod.name in opted_out}
        for pod in sorted(living, key=lambda pod: pod.name)
        for row in pod_rows([pod])
    ]
    note = f"; {len(opted_out)} opted out: {', '.join(opted_out)}" if opted_out else ""
    return judged(
        "istio.injection",
        problems,
        f"{good} of {len(judged_pods)} pods of {namespace} have a Ready sidecar{note}",
        {"namespaces": namespaces, "pods": rows},
        remedy=f"label the namespace ({INJECTION_LABEL}=enabled) and restart the workloads named: "
        "sidecars are added when a pod is made",
    )


def versions(
    found: MeshVersions,
    *,
    expected_proxies: Iterable[str] | None = None,
    own: Iterable[str] | None = None,
) -> CheckResult:
    """Judge Istio's versions: client, control plane and data plane tell theirs; skew is named.

    Fails for a version that says nothing, a plane that does not answer, a proxy that is missing, and a
    proxy that is ahead of every control plane or more than two minors behind. Evidence: table `versions` (component,
    version, count), `data_plane` (version → proxies), table `proxies`; `others` where something is wrong with
    a proxy of somebody else, which fails nothing.

    Args:
        found: What `istioctl version` told.
        expected_proxies: `pod.namespace` of every pod that has a sidecar or is a gateway; None: not known.
        own: Those that this run answers for, on a mesh of somebody else; None: all.

    Returns:
        The check.
    """
    planes = Counter(version for _, version in found.control_plane)
    proxies = Counter(version for _, version in found.data_plane)
    mine = None if own is None else set(own)
    judged_proxies = {version for name, version in found.data_plane if mine is None or name in mine}
    problems = [
        f"the version of the {component} is {text!r}: it says nothing"
        for component, texts in (
            ("client", [found.client]),
            ("control plane", planes),
            ("data plane", sorted(judged_proxies)),
        )
        for text in texts
        if is_unstamped(text)
    ]
    if not planes:
        problems.append("no control plane answered")
    if not proxies:
        problems.append("the control plane knows no proxy")
    absent = sorted(set(expected_proxies or ()) - {name for name, _ in found.data_plane})
    missing = [name for name in absent if mine is None or name in mine]
    if missing:
        problems.append(f"{len(missing)} proxies did not report: {', '.join(missing)}")
    told_only = [f"{name} did not report" for name in absent if name not in missing]
    for proxy in sorted(proxies):
        unsupported = [text for plane in planes if (text := _unsupported(plane, proxy))]
        if len(unsupported) < len(planes):
            continue  # of several control planes one supports it, as during an upgrade by revisions
        if proxy in judged_proxies:
            problems += unsupported
        else:
            told_only += unsupported
    skew = sorted({found.client, *planes, *proxies})
    shown = (
        ", ".join(f"{version} ({pluralize(n, 'proxies')})" for version, n in sorted(proxies.items()))
        or "none"
    )
    told = ", ".join(sorted(planes)) or "none"
    named = f"skew: {' / '.join(skew)}" if len(skew) > 1 else "no skew"
    rows: Table = [{"component": "client", "version": found.client, "count": 1}]
    rows += [{"component": "control plane", "version": v, "count": n} for v, n in sorted(planes.items())]
    rows += [{"component": "data plane", "version": v, "count": n} for v, n in sorted(proxies.items())]
    return judged(
        "istio.versions",
        problems,
        f"client {found.client}, control plane {told}, data plane {shown}; {named}"
        + (f"; of others, told only: {'; '.join(told_only)}" if told_only else ""),
        {
            "versions": rows,
            "data_plane": dict(proxies),
            "proxies": [{"proxy": name, "version": version} for name, version in found.data_plane],
        }
        | ({"others": told_only} if told_only else {}),
        remedy="bring the planes to one version: upgrade the control plane first, then restart the workloads",
    )


def proxies_synced(
    statuses: Sequence[ProxyStatus], expected_proxies: Iterable[str], *, own: Iterable[str] | None = None
) -> CheckResult:
    """Judge the proxies: every expected one is connected, has acknowledged all it was sent, and rejected nothing.

    A type that istiod has nothing for (NOT SENT) is fine, except those that a proxy of its kind always has.
    Evidence: table `proxies` (proxy, version, one column per type, rejected); `others` where something is
    wrong with a proxy of somebody else, which fails nothing.

    Args:
        statuses: What istiod tells of each proxy.
        expected_proxies: `pod.namespace` of every pod that has a sidecar or is a gateway.
        own: Those that this run answers for, on a mesh of somebody else; None: all.

    Returns:
        The check.
    """
    expected = set(expected_proxies)
    mine = None if own is None else set(own)
    types = sorted({name for status in statuses for name in status.types})
    rows: Table = [
        {
            "proxy": status.name,
            "version": status.version,
            **{name: status.types.get(name, "") for name in types},
            "rejected": "; ".join(f"{kind}: {_line(text)}" for kind, text in sorted(status.errors.items())),
        }
        for status in statuses
    ]
    problems: list[str] = []
    told: list[str] = []
    absent = sorted(expected - {status.name for status in statuses})
    missing = [name for name in absent if mine is None or name in mine]
    told += [f"{name} is not connected" for name in absent if name not in missing]
    if missing:
        problems.append(f"{len(missing)} of {len(expected)} proxies are not connected: {', '.join(missing)}")
    if not expected:
        problems.append("no proxy is expected, so nothing was checked")
    bad = 0
    for status in statuses:
        wrong = _not_synced(status)
        bad += bool(wrong)
        if mine is None or status.name in mine:
            problems += wrong
        else:
            told += wrong
    synced = len(statuses) - bad
    rejected = sum(len(status.errors) for status in statuses)
    return judged(
        "istio.proxies-synced",
        problems,
        f"{synced} of {len(statuses)} proxies synced, {len(expected)} of the lab among them, "
        f"{pluralize(rejected, 'rejected updates')}"
        + (f"; of others, told only: {'; '.join(told)}" if told else ""),
        {"proxies": rows, "expected": sorted(expected)} | ({"others": told} if told else {}),
        remedy="`istioctl proxy-status` and the istio-proxy container's log tell what was rejected and why",
    )


def _not_synced(status: ProxyStatus) -> list[str]:
    found = [f"{status.name} rejected {kind}: {_line(text)}" for kind, text in sorted(status.errors.items())]
    needed = NEEDED_TYPES[status.kind]
    for kind in sorted({*status.types, *needed} - set(status.errors)):
        state = status.types.get(kind, "NOT SENT")
        if state != "SYNCED" and (state != "NOT SENT" or kind in needed):
            found.append(f"{status.name}: {kind} is {state}")
    return found


def expected_proxies(pods: Iterable[PodSummary]) -> tuple[str, ...]:
    """`pod.namespace` of every living pod that runs a proxy: sidecars and gateways."""
    return tuple(f"{pod.name}.{pod.namespace}" for pod in pods if has_sidecar(pod) and not pod.deleting)


def _line(text: str) -> str:
    return " ".join(text.split())


def _unsupported(plane: str, proxy: str) -> str:
    ours, theirs = minor(plane), minor(proxy)
    if ours is None or theirs is None or plane.split(".")[0] != proxy.split(".")[0]:
        return ""
    if theirs > ours:
        return f"proxies of {proxy} are ahead of the control plane's {plane}"
    if ours - theirs > MAX_PROXY_LAG:
        return f"proxies of {proxy} are more than {MAX_PROXY_LAG} minors behind the control plane's {plane}"
    return ""
