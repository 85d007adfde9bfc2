"""Who sends the requests of an upgrade: pods of a namespace of ours that is moved, too, one after the other.

A pod that is restarted ends the requests that it has under way. So the next one is there first, in a Deployment of its
own, and takes over.
"""

from __future__ import annotations

import copy
from typing import Any

from meshlab.app.bookinfo import PAGE_PATH, PORT, PRODUCTPAGE, SLEEP
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import read_manifests
from meshlab.kube.client import Kube
from meshlab.kube.pods import serving

NAME = "upgrade-client"
SELECTOR = f"app={NAME}"


def client_namespace(config: LabConfig) -> str:
    """Name the namespace of the pods that send."""
    return f"{config.namespace}-upgrade"[:63]


def page_url(config: LabConfig) -> str:
    """Name the page as the client asks for it, from another namespace."""
    return f"http://{host_port(f'{PRODUCTPAGE.app}.{config.namespace}', PORT)}{PAGE_PATH}"


def documents(distribution: Distribution, number: int) -> list[dict[str, Any]]:
    """Make the objects of one client: Istio's own sample sleep, under a name of ours.

    Args:
        distribution: Istio's istioctl and samples.
        number: Of the client, from 1; each has a Deployment of its own.

    Returns:
        Its account and its Deployment.

    Raises:
        InputError: The sample can't be read.
    """
    sample = {each["kind"]: each for each in read_manifests(distribution.samples / SLEEP)}
    account, deployment = copy.deepcopy(sample["ServiceAccount"]), copy.deepcopy(sample["Deployment"])
    account["metadata"]["name"] = NAME
    labels = {"app": NAME, "number": str(number)}
    deployment["metadata"] = {"name": deployment_name(number), "labels": labels}
    spec = deployment["spec"]
    spec["selector"] = {"matchLabels": labels}
    spec["template"]["metadata"] = {"labels": labels}
    spec["template"]["spec"]["serviceAccountName"] = NAME
    return [account, deployment]


def deployment_name(number: int) -> str:
    """Name the Deployment of a client."""
    return f"{NAME}-{number}"


def selector_of(number: int) -> str:
    """Give the label selector of a client's pod."""
    return f"{SELECTOR},number={number}"


def ready_clients(kube: Kube, namespace: str) -> list[int]:
    """List the numbers of the clients that have a Ready pod.

    Args:
        kube: Client of the cluster.
        namespace: Theirs.

    Returns:
        The numbers, sorted.

    Raises:
        KubeError: They can't be listed.
    """
    pods = serving(kube.pods(namespace, SELECTOR))
    return sorted({int(pod.labels["number"]) for pod in pods if pod.labels.get("number", "").isdigit()})


def deployed(kube: Kube, namespace: str) -> list[int]:
    """List the numbers of the clients whose Deployment is there.

    Args:
        kube: Client of the cluster.
        namespace: Theirs.

    Returns:
        The numbers, sorted.

    Raises:
        KubeError: They can't be listed.
    """
    found = kube.objects("apps/v1", "Deployment", namespace, selector=SELECTOR)
    return sorted(int(each["metadata"]["labels"]["number"]) for each in found)
