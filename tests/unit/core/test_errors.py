import inspect

import pytest

from meshlab.core import errors
from meshlab.core.errors import (
    ExecError,
    InputError,
    Interrupted,
    MeshlabError,
    Problem,
    QueryError,
    WaitTimeout,
)


def test_a_message_is_followed_by_its_remedy() -> None:
    assert str(MeshlabError("it broke", remedy="mend it")) == "it broke\n  remedy: mend it"
    assert str(MeshlabError("it broke")) == "it broke"


def test_a_timeout_has_a_remedy_of_its_own_where_none_is_given() -> None:
    assert WaitTimeout("pods", last="0 of 3", seconds=5).remedy
    assert WaitTimeout("pods", last="0 of 3", seconds=5, remedy="look at them").remedy == "look at them"


def test_input_problems_are_counted_and_listed() -> None:
    one, two = Problem("--zone", "is odd", "name another"), Problem("--keep", "takes no value", "see --help")
    assert str(InputError([one])).startswith("1 problem, nothing was started:\n  - --zone: is odd\n")
    assert str(InputError([one, two])).splitlines() == [
        "2 problems, nothing was started:",
        "  - --zone: is odd",
        "    remedy: name another",
        "  - --keep: takes no value",
        "    remedy: see --help",
    ]


def test_each_error_says_whether_trying_again_may_help() -> None:
    assert not MeshlabError("x").retryable
    assert MeshlabError("x", retryable=True).retryable
    assert QueryError("no answer").retryable
    assert not QueryError("bad query", retryable=False).retryable
    assert ExecError("the connection broke").retryable
    assert not ExecError("it failed", returncode=1).retryable
    assert not WaitTimeout("pods", last="0 of 3", seconds=5).retryable


def test_nothing_takes_an_interruption_for_a_failure() -> None:
    assert not issubclass(Interrupted, Exception)
    with pytest.raises(KeyboardInterrupt, match="interrupted by signal 15"):
        raise Interrupted(15)


def test_the_tree_at_the_top_of_the_module_is_the_hierarchy() -> None:
    drawn = [line.split("──")[-1].split()[0] for line in (errors.__doc__ or "").splitlines() if "──" in line]
    classes = {
        name for name, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, MeshlabError)
    }
    assert set(drawn) == classes - {"MeshlabError"}
