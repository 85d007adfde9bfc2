"""What was applied is in the ledger before it is applied."""

from pathlib import Path

import pytest

from meshlab.config.settings import Machine
from meshlab.core.errors import KubeError
from meshlab.kube.applied import KIND, applied, applying
from meshlab.kube.apply import ObjectRef, apply
from meshlab.run.journal import create
from meshlab.run.ledger import Entry, Ledger
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Ledger.open(Machine.here(), create(tmp_path / "runs", "nightly-validation"))


def service(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}


def test_what_was_applied_until_it_was_cut_off_is_known(ledger: Ledger) -> None:
    kube = FakeKube()

    def refuse(verb: str, kind: str, name: str) -> None:
        if name == "b":
            raise KubeError("cut off")

    kube.refuse = refuse
    with pytest.raises(KubeError), applying(kube, ledger):  # type: ignore[arg-type]
        apply(kube, [service("a"), service("b"), service("c")], namespace="shop", clock=FakeClock())  # type: ignore[arg-type]
    refs = tuple(ObjectRef("v1", "Service", "shop", name) for name in ("a", "b"))
    assert applied(kube, ledger) == refs  # type: ignore[arg-type]
    apply(kube, [service("d")], namespace="shop", clock=FakeClock())  # type: ignore[arg-type]
    assert applied(kube, ledger) == refs  # type: ignore[arg-type]


def test_objects_of_another_cluster_are_not_ours_here(ledger: Ledger) -> None:
    ledger.intend(Entry(KIND, "Service shop/a", "https://elsewhere.test", '{"name":"a"}'))
    assert applied(FakeKube(), ledger) == ()  # type: ignore[arg-type]
