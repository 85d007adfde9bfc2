import json

import pytest

from meshlab.core.errors import KubeError
from meshlab.security.gateways.trials import Answer, Trial, in_turn, problems, rows


def trial(name: str, answers: list[Answer], log: list[str], control: str = "") -> Trial:
    def ask() -> Answer:
        log.append(name)
        return answers.pop(0)

    return Trial(name, f"GET {name}", "200", ask, control)


def test_every_trial_is_asked_once_per_round_and_in_order() -> None:
    log: list[str] = []
    good = [Answer("200", True) for _ in range(3)]
    odd = [Answer("refused", True), Answer("200", False), Answer("refused", True)]
    tried = in_turn([trial("a", good, log), trial("b", odd, log, control="a")])
    assert log == ["a", "b"] * 3
    assert [each.holds for each in tried] == [True, False]
    assert problems(tried) == ["b: expected 200, got 200 (2 of 3)"]
    found = rows(tried)
    assert found[1]["answers"] == "refused (2×); 200"
    assert found[1]["control"] == "a"
    assert found[0]["as expected"] == "3 of 3"
    json.dumps(found)


def test_nothing_asked_holds_nothing() -> None:
    (tried,) = in_turn([trial("a", [], [])], rounds=0)
    assert not tried.holds
    assert "nothing was asked" in tried.problem


def test_what_could_not_be_asked_is_no_answer() -> None:
    def ask() -> Answer:
        raise KubeError("no way there")

    with pytest.raises(KubeError):
        in_turn([Trial("a", "GET a", "refused", ask)])
