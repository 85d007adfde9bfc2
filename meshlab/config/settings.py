"""What is wanted (`LabConfig`, the flow's parameter) and what this machine offers (`Machine`).

Nothing else reads the environment.
"""

from __future__ import annotations

import os
import pwd
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from meshlab.config.base import SettingsBase as SettingsBase
from meshlab.config.settings_gke import GkeSettings as GkeSettings
from meshlab.config.settings_load import LoadSettings as LoadSettings
from meshlab.config.settings_local import LocalSettings as LocalSettings
from meshlab.config.settings_local import Pull
from meshlab.config.settings_report import HistorySettings as HistorySettings
from meshlab.config.settings_report import ReportSettings as ReportSettings

Provider = Literal["local", "existing", "gke"]
Distribution = Literal["embedded", "release"]
Images = Literal["embedded", "official"]
ENV_PREFIX = "MESHLAB_"
# Where alerts go. An address of this kind is a password: never a setting, which Prefect and result files show.
ALERT_WEBHOOK = "MESH_LAB_ALERT_WEBHOOK"
# What may need credentials → the variable that holds them.
CREDENTIALS = {
    name: f"MESH_LAB_{name.upper()}_CREDENTIALS" for name in ("prometheus", "tracing", "grafana", "kiali")
}


def variables() -> dict[str, str]:
    """This process's environment. Children inherit it (see `meshlab.core.process`); nothing else looks at it."""
    return dict(os.environ)


class ExistingSettings(SettingsBase):
    """A cluster that somebody else runs."""

    context: str | None = Field(None, description="The kubeconfig's context; its current one when not given.")
    kubeconfig: Path | None = Field(
        None, description="The kubeconfig file; KUBECONFIG or ~/.kube/config when not given."
    )


class IstioSettings(SettingsBase):
    """The mesh."""

    distribution: Distribution | None = Field(
        None,
        description="embedded (compiled by this project; local's default) or release (the others').",
    )
    # Part of an address and of a folder's name; whether it exists and fits is judged with the cluster.
    version: Annotated[str, Field(pattern=r"^v?\d+\.\d+[0-9A-Za-z.-]*$")] | None = Field(
        None, description="Istio version; the distribution's own when not given."
    )
    profile: str = Field("demo", description="Installation profile.")
    operator_file: Path | None = Field(
        None, description="IstioOperator file that is merged over the profile."
    )
    istioctl: Path | None = Field(
        None, description="istioctl of a release, with its samples/ folder beside it or above it."
    )
    download_url: str = Field(
        "https://github.com/istio/istio/releases/download",
        description="Where releases of Istio lie, as VERSION/istio-VERSION-OS-CPU.tar.gz and its .sha256; or a mirror.",
    )
    download_timeout: float = Field(600, gt=0, le=7200, description="Seconds that a download may take.")
    install_timeout: float = Field(
        300, gt=0, le=3600, description="Seconds until the control plane must be Ready."
    )
    drain_seconds: int = Field(
        5,
        ge=1,
        le=300,
        description="drainDuration of the proxies, on clusters of ours with the embedded distribution only.",
    )


class SchedulingSettings(SettingsBase):
    """Which nodes the run's pods may use."""

    node_selector: dict[str, str] = Field({}, description="Labels that a node must have, as {KEY: VALUE}.")
    tolerations: tuple[dict[str, str], ...] = Field(
        (), description="Taints that are tolerated, as a list of {key, operator, value, effect}."
    )


class AppSettings(SettingsBase):
    """Bookinfo and sleep."""

    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] | None = Field(
        None, description="Namespace; `default` on clusters that are ours, `meshlab` elsewhere."
    )
    rollout_timeout: float = Field(
        300, gt=0, le=3600, description="Seconds until every workload must be Ready."
    )
    labels: dict[str, str] = Field(
        {}, description="Labels of every object and pod of the run, where the cluster demands some."
    )
    image_prefix: str = Field(
        "", description="Registry and path in place of the registry of official images, as a mirror has them."
    )
    pull_secrets: tuple[str, ...] = Field(
        (), description="Names of Secrets in the app's namespace with which its images are pulled."
    )
    scheduling: SchedulingSettings = SchedulingSettings()
    page_requests: int = Field(5, ge=3, le=1000, description="Requests of the check app.productpage.")
    page_p50_ms: float = Field(
        400,
        gt=0,
        le=60000,
        description="Milliseconds that the median request of app.productpage may take; 20 to 100 are usual.",
    )


Pause = Annotated[float, Field(ge=0.05, le=60)]  # seconds between two requests


class TrafficSettings(SettingsBase):
    """The document's two loops."""

    fast_interval: float = Field(
        0.3, ge=0.05, le=60, description="Seconds between requests of the fast loop."
    )
    fast_seconds: float = Field(20, ge=5, le=3600, description="Least seconds that the fast loop runs.")
    gentle_interval: tuple[Pause, Pause] = Field(
        (1.0, 2.0), description="Least and most seconds between requests of the gentle loop."
    )
    gentle_seconds: float = Field(8, ge=4, le=3600, description="Least seconds that the gentle loop runs.")

    @field_validator("gentle_interval")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("needs two numbers between 0.05 and 60, the smaller first")
        return value


# Where something is asked through a port-forward: namespace/name:port of a Service, and the path of its API.
PLACE = (
    r"(?P<namespace>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)/(?P<name>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)"
    r":(?P<port>[1-9]\d{0,4})(?P<path>/[^\s?#]*)?"
)
# No user and password: an address is shown, credentials come from the environment or a Prefect block.
ADDRESS = r"https?://[^\s/@?#]+(/[^\s?#]*)?"


class PlaceSettings(SettingsBase):
    """Where a part of the mesh is asked, on a cluster of somebody else."""

    url: str | None = Field(
        None, description="Asked there, over the network; found in the cluster when not given."
    )
    service: str | None = Field(
        None,
        description="Asked there, through a port-forward: namespace/name:port, a path may follow.",
    )

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch(ADDRESS, value) is None:
            raise ValueError("needs http:// or https:// and a host, a path may follow, and no password")
        return value

    @field_validator("service")
    @classmethod
    def _is_place(cls, value: str | None, given: ValidationInfo) -> str | None:
        if value is not None and re.fullmatch(PLACE, value) is None:
            raise ValueError("needs namespace/name:port of a Service, a path may follow")
        if value is not None and given.data.get("url"):
            raise ValueError("is beside a url, which is asked instead: leave one of them out")
        return value


class TracingSettings(PlaceSettings):
    """Where traces are asked for."""

    api: Literal["jaeger", "zipkin", "none"] | None = Field(
        None,
        description="Whose API it has; none: there is no tracing. Port 9411 is Zipkin's, any other Jaeger's, when not given.",
    )


class PrometheusSettings(PlaceSettings):
    """The metrics addon."""

    scrape_seconds: int = Field(
        5,
        ge=1,
        le=60,
        description="Scrape interval, on clusters of ours with the embedded distribution only.",
    )
    namespace: str = Field("istio-system", description="Where Prometheus runs, or is put.")
    answer_timeout: float = Field(
        60,
        gt=0,
        le=600,
        description="Seconds until an expected series must be there; one request to Prometheus has 15.",
    )


class SecuritySettings(SettingsBase):
    """The proofs of mutual TLS, and of the edge."""

    plain_requests: int = Field(3, ge=3, le=100, description="Plaintext requests per way to each server.")
    requests: int = Field(30, ge=5, le=1000, description="Page requests while packets are captured.")
    capture_image: str | None = Field(None, description="Image with Python 3; ours, or the official one.")
    bypass: bool = Field(
        False,
        description="Try ways around the egress gateway, too, where NetworkPolicies are enforced (local.network_policy).",
    )
    restarts: bool = Field(
        False,
        description="Restart the application's servers under load, too (restart.no-failed-request); takes minutes.",
    )
    rotation: bool = Field(
        False,
        description="Rotate certificates, an intermediate and the root under load (rotation.leaf, rotation.root); takes minutes.",
    )
    gateway_api: bool = Field(
        False,
        description="Prove the edge with Gateway API, too; a cluster of ours gets its CustomResourceDefinitions.",
    )


class CheckSettings(SettingsBase):
    """Which checks must be made."""

    optional: tuple[str, ...] = Field(
        ("kiali.graph", "mtls.packets"), description="Checks that may be skipped where they can't be made."
    )


class PagesSettings(SettingsBase):
    """The start page of a kept lab."""

    port: int = Field(
        0, ge=0, le=65535, description="Port of the start page on loopback; 0 takes a free one."
    )


class AcceptedRisk(SettingsBase):
    """A finding of the audit that the owner of the cluster lives with until a day."""

    rule: Annotated[str, Field(pattern=r"^(audit\.)?[a-z][a-z-]+$")] = Field(
        description="The rule's id: default-deny, or audit.default-deny."
    )
    resource: str = Field(
        min_length=1, description="Kind namespace/name of the finding; * and ? stand for anything."
    )
    reason: str = Field(min_length=10, description="Why it is accepted, for whoever reads the report.")
    expires: date = Field(description="The last day on which it counts, as YYYY-MM-DD.")


class AuditSettings(SettingsBase):
    """The audit of best practices."""

    accepted: tuple[AcceptedRisk, ...] = Field(
        (), description="Accepted risks: a list of {rule, resource, reason, expires}."
    )
    accept_lab: bool = Field(True, description="Accept the known findings of what the lab itself applies.")
    namespaces: tuple[str, ...] | None = Field(
        None,
        description="What is audited; all namespaces on clusters that are ours, the app's and Istio's elsewhere.",
    )
    certificate_days: int = Field(
        30, ge=1, le=365, description="Days before its end from which on a certificate is a finding."
    )


class LabConfig(SettingsBase):
    """Everything that a run can be asked for.

    Each field is a flag or a `--set` key, a config-file key, and a variable.
    """

    cluster: Provider = Field("local", description="Where the mesh runs: local, existing or gke.")
    runs_dir: Path = Field(Path("runs"), description="Folder that gets one folder per run.")
    keep: bool = Field(False, description="Leave the lab up and print how to reach it.")
    serve: bool = Field(
        False,
        description="Hold a kept lab's pages and gentle traffic up until Ctrl-C without a terminal, too.",
    )
    keep_on_failure: bool = Field(False, description="Leave the lab up when something failed.")
    allow_changes: bool = Field(
        False, description="Allow changes outside our own namespace on a cluster that is not ours."
    )
    images: Images | None = Field(
        None, description="embedded or official; the default follows the distribution."
    )
    local: LocalSettings = LocalSettings()
    existing: ExistingSettings = ExistingSettings()
    gke: GkeSettings = GkeSettings()
    istio: IstioSettings = IstioSettings()
    app: AppSettings = AppSettings()
    traffic: TrafficSettings = TrafficSettings()
    load: LoadSettings = LoadSettings()
    prometheus: PrometheusSettings = PrometheusSettings()
    tracing: TracingSettings = TracingSettings()
    grafana: PlaceSettings = PlaceSettings()
    kiali: PlaceSettings = PlaceSettings()
    security: SecuritySettings = SecuritySettings()
    checks: CheckSettings = CheckSettings()
    pages: PagesSettings = PagesSettings()
    history: HistorySettings = HistorySettings()
    report: ReportSettings = ReportSettings()
    audit: AuditSettings = AuditSettings()

    @property
    def ours(self) -> bool:
        """Whether the run makes the cluster, and so may change all of it."""
        return self.cluster in ("local", "gke")

    @property
    def distribution(self) -> Distribution:
        """Which build of the mesh runs, the provider's default applied."""
        return self.istio.distribution or ("embedded" if self.cluster == "local" else "release")

    @property
    def image_source(self) -> Images:
        """Which build of the apps runs, the provider's default applied."""
        compiled = (self.cluster, self.distribution) == ("local", "embedded")
        return self.images or ("embedded" if compiled else "official")

    @property
    def needs_pull(self) -> bool:
        """Whether official images must come to nodes that have no way out: those of a local cluster."""
        return self.cluster == "local" and (self.distribution, self.image_source) != ("embedded", "embedded")

    @property
    def pull(self) -> Pull:
        """Whether the addons' official images are fetched beside embedded ones, the default applied."""
        return self.local.pull or ("auto" if self.keep or self.serve else "never")

    @property
    def namespace(self) -> str:
        """The app's namespace, the provider's default applied."""
        return self.app.namespace or ("default" if self.ours else "meshlab")

    @property
    def scope(self) -> Literal["namespace", "mesh"]:
        """How far the run may write: `mesh` where the cluster is ours or --allow-changes was given."""
        return "mesh" if self.ours or self.allow_changes else "namespace"

    @property
    def tuned(self) -> bool:
        """Whether scrape interval and drain duration are shortened: cluster and distribution are ours."""
        return self.ours and self.distribution == "embedded"


class Machine(SettingsBase):
    """This machine, read once: the XDG folders and the few variables that matter to us."""

    cache: Path
    state: Path
    home: Path
    path: str = ""
    kubeconfig: str = ""
    alert_webhook: SecretStr | None = None
    credentials: dict[str, SecretStr] = Field(default_factory=dict)

    @classmethod
    def here(cls, environ: dict[str, str] | None = None) -> Machine:
        """Read the environment.

        XDG Base Directory specification: unset or relative values fall back to the defaults.
        """
        env = variables() if environ is None else environ
        home = Path(env.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)

        def folder(variable: str, default: str) -> Path:
            given = Path(env.get(variable) or "")
            return (given if given.is_absolute() else home / default) / "meshlab"

        return cls(
            cache=folder("XDG_CACHE_HOME", ".cache"),
            state=folder("XDG_STATE_HOME", ".local/state"),
            home=home,
            path=env.get("PATH", os.defpath),
            kubeconfig=env.get("KUBECONFIG", ""),
            alert_webhook=SecretStr(env[ALERT_WEBHOOK]) if env.get(ALERT_WEBHOOK) else None,
            credentials={name: SecretStr(env[key]) for name, key in CREDENTIALS.items() if env.get(key)},
        )
