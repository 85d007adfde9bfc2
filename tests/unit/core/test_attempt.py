"""A value, or the error that several who share it meet each."""

import pytest

from meshlab.core.attempt import attempt, given
from meshlab.core.errors import KubeError, MeshlabError


def refuse() -> int:
    raise KubeError("no answer", remedy="look")


def test_a_value_comes_back_and_an_error_is_raised_for_each_who_asks() -> None:
    assert given(attempt(lambda: 5)) == 5
    kept = attempt(refuse)
    assert isinstance(kept, MeshlabError)
    for _ in range(2):
        with pytest.raises(KubeError) as caught:
            given(kept)
        assert caught.value is kept and caught.value.remedy == "look"


def test_a_defect_is_no_answer_and_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 // 0)
