"""What a team applies to its cluster: no more than a run needs, held against the list that runs ask the cluster for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

from meshlab import manifests
from meshlab.config.settings import LabConfig
from meshlab.shared_cluster.permissions import needs

FOLDER = Path(__file__).parents[3] / "deployments" / "kubernetes"
OBJECTS: list[dict[str, Any]] = [d for d in yaml.safe_load_all((FOLDER / "rbac.yaml").read_text()) if d]
TEMPLATE = json.loads((FOLDER / "base-job-template.json").read_text())


def granted(name: str, namespace: str | None) -> set[tuple[str, str, str, str | None]]:
    """(group, resource, verb, the one object that is meant) of the role of this name."""
    [role] = [
        each
        for each in OBJECTS
        if each["kind"] == ("Role" if namespace else "ClusterRole")
        and each["metadata"]["name"] == name
        and each["metadata"].get("namespace") == namespace
    ]
    return {
        (group, resource, verb, one)
        for rule in role["rules"]
        for one in rule.get("resourceNames", [None])
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("namespace", [None, "meshlab", "istio-system"])
def test_a_run_may_do_what_it_needs_and_nothing_else(namespace: str | None) -> None:
    config = LabConfig(cluster="existing")
    wanted = needs(config, namespace_there=True, istio_there=True)
    needed = {
        (n.group, n.resource, verb, n.name) for n in wanted if n.namespace == namespace for verb in n.verbs
    }
    if namespace == config.namespace:  # what a run goes without where it is refused
        needed |= {
            (rule["apiGroups"][0], resource, verb, None)
            for rule in manifests.read("permissions")["wished"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
    assert needed and granted("mesh-lab-run", namespace) == needed


def test_the_worker_starts_jobs_and_touches_no_mesh() -> None:
    allowed = granted("mesh-lab-worker", "mesh-lab-runs")
    assert {resource for _, resource, _, _ in allowed} == {"jobs", "pods", "pods/log", "events"}
    assert {verb for _, resource, verb, _ in allowed if resource == "pods"} == {"get", "list", "watch"}


def test_nobody_gets_everything_or_a_secret() -> None:
    text = (FOLDER / "rbac.yaml").read_text()
    rules = [rule for each in OBJECTS for rule in each.get("rules", [])]
    assert rules and not [rule for rule in rules if "*" in str(rule) or "secrets" in rule["resources"]]
    assert "cluster-admin" not in text and "token:" not in text


def test_every_binding_leads_to_a_role_and_an_account_that_are_there() -> None:
    there = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in OBJECTS}
    bindings = [each for each in OBJECTS if each["kind"].endswith("Binding")]
    assert len(bindings) == 4
    for binding in bindings:
        ref = binding["roleRef"]
        assert (ref["kind"], binding["metadata"].get("namespace"), ref["name"]) in there
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in there


def test_the_template_is_prefect_s_with_less_rights_and_fits_the_roles() -> None:
    default = KubernetesWorker.get_default_base_job_template()
    ours = {"state_volume"}
    assert TEMPLATE["variables"]["properties"].keys() - ours == default["variables"]["properties"].keys()
    defaults = {name: each.get("default") for name, each in TEMPLATE["variables"]["properties"].items()}
    accounts = {each["metadata"]["name"] for each in OBJECTS if each["kind"] == "ServiceAccount"}
    assert defaults["service_account_name"] in accounts and defaults["namespace"] == "mesh-lab-runs"
    pod = TEMPLATE["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    volume, state = pod["volumes"]
    assert volume["name"] == "kubeconfig" and state == "{{ state_volume }}"
    [config] = [each for each in OBJECTS if each["kind"] == "ConfigMap"]
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    assert "tokenFile" in config["data"]["kubeconfig"]


def test_the_worker_runs_as_its_account_in_the_image_of_the_runs() -> None:
    worker = yaml.safe_load((FOLDER / "worker.yaml").read_text())
    pod = worker["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "mesh-lab-worker"
    assert pod["containers"][0]["image"] == TEMPLATE["variables"]["properties"]["image"]["default"]


def test_the_history_outlives_a_job_where_the_pool_names_a_volume() -> None:
    nobody = cast(Any, object())  # given no client, Prefect would start a server
    claim = {"name": "state", "persistentVolumeClaim": {"claimName": "nights"}}
    for values, volume in (({}, {"name": "state", "emptyDir": {}}), ({"state_volume": claim}, claim)):
        job = asyncio.run(
            KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, values, client=nobody)
        )
        pod = job.job_manifest["spec"]["template"]["spec"]
        assert volume in pod["volumes"]
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted["state"] == TEMPLATE["variables"]["properties"]["env"]["default"]["XDG_STATE_HOME"]


def test_the_job_s_deployment_finds_its_code_in_the_image_and_writes_where_it_may() -> None:
    content = yaml.safe_load((FOLDER / "prefect.yaml").read_text())
    [step] = content["pull"]
    [where] = step.values()
    assert f"WORKDIR {where['directory']}\n" in (FOLDER / "Dockerfile").read_text()
    [night] = content["deployments"]
    config = LabConfig.model_validate(night["parameters"]["config"])
    assert config.scope == "namespace"
    pod = TEMPLATE["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    mounted = {each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if not each.get("readOnly")}
    assert str(config.runs_dir.parent) in mounted
    variables = TEMPLATE["variables"]["properties"]["env"]["default"]
    assert {variables["HOME"], variables["XDG_STATE_HOME"]} <= mounted


def test_the_worker_makes_no_pool_of_its_own_and_watches_its_namespace_only() -> None:
    [container] = yaml.safe_load((FOLDER / "worker.yaml").read_text())["spec"]["template"]["spec"][
        "containers"
    ]
    assert "--type" not in container["command"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert variables["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"] == "mesh-lab-runs"
