"""Facts that the account may not read, or that the API server does not tell."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.core.errors import KubeError
from meshlab.istio.facts import read_facts
from tests.fakes.istio_objects import KINDS, istiod
from tests.fakes.mesh import FakeMesh, make_object


class Forbidding(FakeMesh):
    """An account that may read some kinds only."""

    allowed = ("Deployment", "Namespace", "Pod")

    def objects(self, api_version: str, kind: str, *rest: Any, **more: Any) -> list[dict[str, Any]]:
        self._look(kind)
        return super().objects(api_version, kind, *rest, **more)

    def get(self, api_version: str, kind: str, *rest: Any) -> dict[str, Any] | None:
        self._look(kind)
        return super().get(api_version, kind, *rest)

    def _look(self, kind: str) -> None:
        if kind not in self.allowed:
            raise KubeError(f"{kind} is forbidden", status=403)


def test_what_may_not_be_read_is_named_with_the_reason():
    kube = Forbidding([istiod(), make_object("v1", "Namespace", "shop", istio_injection="enabled")])
    kube.kinds |= dict.fromkeys(KINDS, True)
    found = read_facts(kube, "shop")
    assert found.revision == "default", "the Deployment and the namespace's label tell it"
    assert set(found.unknown) == {
        "tags",
        "mesh configuration",
        "sidecars",
        "mtls",
        "outbound",
        "telemetry",
        "ambient",
        "edge",
    }
    assert found.unknown["tags"] == "MutatingWebhookConfiguration is forbidden"


def test_any_other_refusal_is_raised():
    kube = FakeMesh([istiod()])

    def broken(*_: Any, **__: Any) -> Any:
        raise KubeError("the API server does not answer", retryable=True)

    kube.objects = broken  # type: ignore[method-assign]
    with pytest.raises(KubeError):
        read_facts(kube, "shop")
