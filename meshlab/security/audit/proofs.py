"""The request that shows a finding, where one can. Nothing is written, and no answer's body is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from meshlab.app.source import Source, find_source
from meshlab.core.address import host_port
from meshlab.core.errors import MeshlabError
from meshlab.istio.control_plane import SIDECAR
from meshlab.kube.client import Kube
from meshlab.kube.exec import run_in_pod
from meshlab.kube.pods import serving
from meshlab.security.audit.account_rules import TOKEN_PATH
from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.model import Finding, Proof
from meshlab.security.audit.objects import Object
from meshlab.security.audit.workloads import is_meshed

PER_RULE = 3  # findings of one rule that are shown by a request: the others are alike
SECONDS = 3  # for each request
HOST = "audit.invalid"  # a name that nobody serves (RFC 2606)
NOBODY = ("502", "503", "504")  # a proxy's answers for what is not there
REDIRECTS = ("301", "302", "307", "308")
UNDECLARED_PORT = 8080  # of istiod: served by its pod and by no port of its Service


@dataclass(frozen=True)
class Answer:
    """What curl saw: status 000 without an answer, and whether the TCP connection was made."""

    status: str
    exit_code: int
    connected: bool

    def __str__(self) -> str:
        if self.status != "000":
            return f"status {self.status}"
        return f"no answer (curl {self.exit_code}), " + ("connected" if self.connected else "not connected")


class Prover:
    """Makes the requests, from a caller with a sidecar and one without. Either may be missing (None)."""

    def __init__(self, kube: Kube, inventory: Inventory, meshed: Source | None, bare: Source | None) -> None:
        self._kube = kube
        self._inventory = inventory
        self._meshed = meshed
        self._bare = bare
        self._how: Mapping[str, Callable[[Finding], Proof | None]] = {
            "strict-mtls": self._plaintext,
            "default-deny": self._any_caller,
            "allow-all": self._any_caller,
            "deny-by-path": self._other_spelling,
            "gateway-hosts": self._foreign_host,
            "gateway-tls": self._plain_gateway,
            "destination-rule-tls": self._switched_off,
            "egress-policy": self._undeclared,
            "sidecars": self._beside_the_mesh,
            "injection": self._beside_the_mesh,
            "run-as-root": self._user,
            "token-mounts": self._token,
            "debug-ports": self._port_open,
        }

    def prove(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """The findings, the first PER_RULE of each rule with the request that shows it. Never raises MeshlabError."""
        seen: dict[str, int] = {}
        chosen = []
        # Those that count come first: an accepted one needs its proof less.
        for index, finding in sorted(enumerate(findings), key=lambda each: not each[1].counts):
            seen[finding.rule] = seen.get(finding.rule, 0) + 1
            if finding.rule in self._how and seen[finding.rule] <= PER_RULE:
                chosen.append(index)
        with ThreadPoolExecutor(8, thread_name_prefix="audit-proof") as pool:
            proofs = dict(zip(chosen, pool.map(lambda i: self._one(findings[i]), chosen), strict=True))
        return tuple(replace(f, proof=proofs[i]) if i in proofs else f for i, f in enumerate(findings))

    def _one(self, finding: Finding) -> Proof | None:
        try:
            return self._how[finding.rule](finding)
        except MeshlabError as problem:
            return Proof("a request was tried", problem.message[:200], False)

    # ── one way per rule; None where there is nothing to ask or nobody to ask from

    def _plaintext(self, finding: Finding) -> Proof | None:
        url = self._service(finding.about.get("namespace"), finding.about.get("selector", ""))
        if self._bare is None or url is None:
            return None
        answer = self._ask(self._bare, url)
        return Proof(f"plaintext to {url} from {_who(self._bare)}", str(answer), answer.status != "000")

    def _any_caller(self, finding: Finding) -> Proof | None:
        url = self._service(finding.about.get("namespace"), finding.about.get("selector", ""))
        if self._meshed is None or url is None:
            return None
        answer = self._ask(self._meshed, url)
        return Proof(
            f"GET {url} from {_who(self._meshed)}, which no policy names",
            str(answer),
            answer.status not in ("000", "403"),
        )

    def _other_spelling(self, finding: Finding) -> Proof | None:
        path = finding.about.get("path", "")
        url = self._service(finding.about.get("namespace"), finding.about.get("selector", ""))
        if self._meshed is None or url is None or not path:
            return None
        base = url.rstrip("/")
        denied = self._ask(self._meshed, base + path, "--path-as-is")
        passed = self._ask(self._meshed, f"{base}/{path}", "--path-as-is")
        return Proof(
            f"GET {base}{path} and {base}/{path} from {_who(self._meshed)}",
            f"{denied}, then {passed}",
            denied.status == "403" and passed.status not in ("000", "403"),
        )

    def _foreign_host(self, finding: Finding) -> Proof | None:
        source, url = self._bare or self._meshed, self._gateway(finding)
        if source is None or url is None:
            return None
        answer = self._ask(source, url, "-H", f"Host: {HOST}")
        shown = answer.status not in ("000", "404")
        return Proof(f"GET {url} for the host {HOST} from {_who(source)}", str(answer), shown)

    def _plain_gateway(self, finding: Finding) -> Proof | None:
        source, url = self._bare or self._meshed, self._gateway(finding)
        if source is None or url is None:
            return None
        answer = self._ask(source, url)
        shown = answer.status not in ("000", *REDIRECTS)
        return Proof(f"GET {url} without TLS from {_who(source)}", str(answer), shown)

    def _switched_off(self, finding: Finding) -> Proof | None:
        host = finding.about.get("host", "")
        service = self._named_service(host, finding.about.get("namespace", ""))
        if self._meshed is None or service is None or finding.about.get("mode") != "DISABLE":
            return None
        url = _url(service)
        answer = self._ask(self._meshed, url)
        refused = answer.status in ("000", "503")
        # An answer tells nothing: the server may take both. A refusal is what STRICT does to plaintext.
        return Proof(
            f"GET {url} from {_who(self._meshed)}, whose proxy was told to send plaintext",
            f"{answer}: " + ("refused, as STRICT refuses plaintext" if refused else "accepted"),
            refused,
        )

    def _undeclared(self, finding: Finding) -> Proof | None:
        namespace = finding.about.get("namespace")
        source = self._meshed
        if namespace and "around" in finding.about:
            source = self._beside_the_proxy(namespace)
        elif namespace and (source is None or namespace != source.namespace):
            source = find_source(self._kube, namespace)
        facts = self._inventory.facts
        istiod = next(
            (pod for pod in self._kube.pods(facts.system_namespace, facts.istiod_selector) if pod.is_ready),
            None,
        )
        if source is None or istiod is None or not istiod.ip:
            return None
        url = f"http://{host_port(istiod.ip, UNDECLARED_PORT)}/ready"
        answer = self._ask(source, url)
        # What is outside is nobody's to be asked by an audit: this address is in the cluster.
        return Proof(
            f"GET {url}, in the cluster, which no service declares, from {_who(source)}",
            str(answer),
            answer.status not in ("000", "502"),
        )

    def _beside_the_proxy(self, namespace: str) -> Source | None:
        """Who sends past the sidecars of a namespace: a pod without one, else the proxy's own user in a pod with one."""
        if self._bare is not None and self._bare.namespace == namespace:
            return self._bare
        for pod in serving(self._kube.pods(namespace)):
            if SIDECAR in pod.images:
                return Source(namespace, pod.name, SIDECAR, pod.uid)
        return None

    def _beside_the_mesh(self, finding: Finding) -> Proof | None:
        ip, port = finding.about.get("ip"), finding.about.get("port")
        if self._bare is None or not ip or not port:
            return None
        address = host_port(ip, port)
        answer = self._ask(self._bare, f"http://{address}/")
        return Proof(
            f"plaintext to {address} ({finding.about['pod']}) from {_who(self._bare)}",
            str(answer),
            answer.connected,
        )

    def _user(self, finding: Finding) -> Proof | None:
        about = finding.about
        done = run_in_pod(
            self._kube,
            about["namespace"],
            about["pod"],
            about["container"],
            ["id", "-u"],
            timeout=SECONDS + 5,
        )
        said = done.stdout.strip()
        return Proof(f"id -u in {about['pod']}/{about['container']}", f"uid {said or '?'}", said == "0")

    def _token(self, finding: Finding) -> Proof | None:
        about = finding.about
        argv = ["test", "-s", f"{TOKEN_PATH}/token"]
        done = run_in_pod(
            self._kube, about["namespace"], about["pod"], about["container"], argv, timeout=SECONDS + 5
        )
        there = done.returncode == 0
        answer = "it is there, and not empty" if there else f"ended with {done.returncode}"
        return Proof(f"{' '.join(argv)} in {about['pod']}/{about['container']}", answer, there)

    def _port_open(self, finding: Finding) -> Proof | None:
        host, port = finding.about.get("host"), finding.about.get("port")
        if self._bare is None or not host or not port:
            return None
        address = host_port(host, port)
        answer = self._ask(self._bare, f"http://{address}/", "--http0.9")
        # A sidecar takes every connection; there only an answer of the application tells that something listens.
        served = answer.status not in ("000", *NOBODY)
        shown = served or (answer.connected and answer.status == "000" and "meshed" not in finding.about)
        return Proof(f"a connection to {address} from {_who(self._bare)}", str(answer), shown)

    # ── asking

    def _ask(self, source: Source, url: str, *options: str) -> Answer:
        """One request with curl from inside a pod; the body is thrown away. Raises ExecError without curl."""
        told = "%{http_code} %{exitcode} %{time_connect}"
        # --globoff: what a policy or a route names is one address, whatever brackets stand in it.
        argv = ["curl", "--globoff", "-s", "-o", "/dev/null", "-m", str(SECONDS), "-w", told, *options, url]
        done = run_in_pod(
            self._kube, source.namespace, source.pod, source.container, argv, timeout=SECONDS + 5
        )
        status, _, rest = done.stdout.strip().partition(" ")
        code, _, seconds = rest.partition(" ")
        return Answer(
            status or "000", int(code or done.returncode or 0), bool(seconds) and float(seconds) > 0
        )

    def _service(self, namespace: str | None, selector: str) -> str | None:
        """URL of a service of that namespace (None: any with sidecars) that serves HTTP behind sidecars."""
        wanted = dict(term.split("=", 1) for term in selector.split(",")) if selector else {}
        for service in self._inventory.of("Service", namespace):
            meta, chosen = service["metadata"], (service.get("spec") or {}).get("selector") or {}
            if (
                meta["namespace"] == self._inventory.root
                or not chosen
                or not wanted.items() <= chosen.items()
            ):
                continue
            behind = [
                pod
                for pod in self._inventory.running(meta["namespace"])
                if chosen.items() <= (pod["metadata"].get("labels") or {}).items()
            ]
            if behind and all(map(is_meshed, behind)) and _http_port(service):
                return _url(service)
        return None

    def _named_service(self, host: str, namespace: str) -> Object | None:
        name, _, rest = host.partition(".")
        home = rest.partition(".")[0] or namespace
        for service in self._inventory.of("Service", home):
            if service["metadata"]["name"] == name and _http_port(service):
                return service
        return None

    def _gateway(self, finding: Finding) -> str | None:
        """URL of a plain HTTP server of a gateway, through the Service of its pods."""
        about = finding.about
        if about.get("protocol") != "HTTP" or not about.get("selector"):
            return None
        wanted = dict(term.split("=", 1) for term in about["selector"].split(","))
        for service in self._inventory.of("Service"):
            spec, meta = service.get("spec") or {}, service["metadata"]
            # A gateway's server names the port of its pods, which is the Service's target.
            ports = [
                p
                for p in spec.get("ports") or []
                if about["port"] in map(str, (p.get("targetPort"), p["port"]))
            ]
            if ports and wanted.items() <= (spec.get("selector") or {}).items():
                address = host_port(f"{meta['name']}.{meta['namespace']}", ports[0]["port"])
                return f"http://{address}{about['path']}"
        return None


def _http_port(service: Object) -> int | None:
    """The first port that Istio takes for HTTP, by its name or appProtocol."""
    for port in (service.get("spec") or {}).get("ports") or []:
        if str(port.get("appProtocol") or port.get("name") or "").split("-")[0] == "http":
            return int(port["port"])
    return None


def _url(service: Object) -> str:
    meta = service["metadata"]
    address = host_port(f"{meta['name']}.{meta['namespace']}", _http_port(service))
    return f"http://{address}/"


def _who(source: Source) -> str:
    return f"{source.namespace}/{source.pod}"
