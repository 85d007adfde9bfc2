from __future__ import annotations

from meshlab.core.environment import mark_children, owner_in, quieten_prefect


def test_a_process_tells_from_its_environment_which_run_it_belongs_to() -> None:
    environ: dict[str, str] = {}
    mark_children(4711, 1795000000.25, environ)
    assert owner_in(environ) == (4711, 1795000000.25)
    assert owner_in({}) is None
    assert owner_in({name: "4711" for name in environ}) is None


def test_what_the_user_has_set_for_prefect_stays() -> None:
    environ = {"DO_NOT_TRACK": "0"}
    quieten_prefect(environ)
    assert environ["DO_NOT_TRACK"] == "0"
    assert environ["PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE"] == "50"
