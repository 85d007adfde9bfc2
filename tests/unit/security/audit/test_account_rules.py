"""Whose token is of use: by whatever a binding names an account."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.security.audit.samples import examine, pod, thing, told

TOKEN = [{"name": "main", "volumeMounts": [{"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}]
WEB = pod("web", spec={"serviceAccountName": "web", "containers": TOKEN})
DEFAULTS = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def binding(kind: str, subject: dict[str, str], **meta: Any) -> dict[str, Any]:
    home = "shop" if kind == "RoleBinding" else None
    return {**thing(kind, "it", home, **meta), "subjects": [subject]}


@pytest.mark.parametrize(
    ("subject", "bound"),
    [
        ({"kind": "ServiceAccount", "name": "web", "namespace": "shop"}, True),
        ({"kind": "ServiceAccount", "name": "web", "namespace": "other"}, False),
        ({"kind": "User", "name": "system:serviceaccount:shop:web"}, True),
        ({"kind": "User", "name": "web"}, False),
        ({"kind": "Group", "name": "system:serviceaccounts:shop"}, True),
        ({"kind": "Group", "name": "system:serviceaccounts:other"}, False),
        ({"kind": "Group", "name": "system:serviceaccounts"}, True),
        ({"kind": "Group", "name": "system:authenticated"}, True),
        ({"kind": "Group", "name": "system:unauthenticated"}, False),
    ],
)
@pytest.mark.parametrize("kind", ["RoleBinding", "ClusterRoleBinding"])
def test_a_token_that_some_binding_gives_rights_is_needed(
    subject: dict[str, str], bound: bool, kind: str
) -> None:
    found = told(examine("token-mounts", WEB, binding(kind, subject)))
    assert found == ([] if bound else [("warning", "Pod shop/web")])


@pytest.mark.parametrize("group", ["system:authenticated", "system:serviceaccounts"])
def test_what_every_cluster_begins_with_gives_no_use_to_a_token(group: str) -> None:
    begun = binding("ClusterRoleBinding", {"kind": "Group", "name": group}, labels=DEFAULTS)
    assert told(examine("token-mounts", WEB, begun)) == [("warning", "Pod shop/web")]
