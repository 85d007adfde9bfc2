import pytest

from meshlab.clusters.gke import access
from meshlab.clusters.gke.api import Backoff, Rest, zones_of
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import CloudError
from tests.fakes.gke.books import Fault, Status
from tests.fakes.gke.emulator import Emulator


def rest(settings: GkeSettings, seconds: float = 30.0) -> Rest:
    return Rest(*access.session(settings), "p", Backoff(0.01, 0.02, seconds))


def test_every_page_of_every_scope_is_read(emulator: Emulator) -> None:
    for number in range(5):
        emulator.books.table("disks")[f"d{number}"] = {"name": f"d{number}"}
    found = rest(emulator.settings()).listed_everywhere("disks")
    assert [disk["name"] for disk in found] == ["d0", "d1", "d2", "d3", "d4"]
    assert rest(emulator.settings()).listed_everywhere("targetPools") == []


def test_what_does_not_exist_is_none_and_zones_are_of_one_region(emulator: Emulator) -> None:
    asked = rest(emulator.settings())
    assert asked.one("global/networks/none") is None
    assert zones_of(asked, "europe-west1") == ["europe-west1-b", "europe-west1-c"]
    assert asked.granted(["a.b.c"]) == {"a.b.c"}


def test_an_answer_that_is_away_is_asked_for_again(emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("firewalls", times=2))
    assert rest(emulator.settings()).listed("firewalls", "global") == []


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (
            Status.PERMISSION_DENIED,
            "Required 'compute.firewalls.list' permission for 'projects/p'",
            "permission",
        ),
        (Status.UNAVAILABLE, "Backend error", "unavailable"),
    ],
)
def test_refusals_are_classed(emulator: Emulator, code: Status, said: str, kind: str) -> None:
    emulator.books.faults.append(Fault("firewalls", code, said, times=10_000))
    with pytest.raises(CloudError) as caught:
        rest(emulator.settings(), 0.2).listed("firewalls", "global")
    assert (caught.value.kind, said in caught.value.message) == (kind, True)


def test_nobody_listens(emulator: Emulator) -> None:
    emulator_settings = emulator.settings()
    session, _ = access.session(emulator_settings)
    with pytest.raises(CloudError, match="the API does not answer"):
        Rest(session, "http://127.0.0.1:1", "p", Backoff(0.01, 0.02, 0.2)).listed("firewalls", "global")
