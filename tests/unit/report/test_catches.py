from __future__ import annotations

from pathlib import Path

from meshlab.faults.page import main
from meshlab.report.catches import columns, lines, page, rows
from tests.examples.results import FULL

CATCHES = [
    {
        "fault": "a",
        "must": ["x.one", "x.two"],
        "may": ["x.three"],
        "red": ["x.one", "x.three"],
        "restored": True,
        "culprit_rank": 2,
        "culprit_ranks": {"without history": 2, "beside newer changes": None},
    },
    {"fault": "b", "must": ["x.two"], "may": ["x.quiet"], "red": ["x.four", "x.two"], "restored": False},
]


def test_the_matrix_has_a_column_for_each_check_that_had_to_or_did_turn_red() -> None:
    assert columns(CATCHES) == ["x.four", "x.one", "x.three", "x.two"]
    assert rows(CATCHES) == [
        {
            "fault": "a",
            "culprit": "named no. 2; beside newer changes not named",
            "restored": "yes",
            "x.four": "",
            "x.one": "caught",
            "x.three": "red too",
            "x.two": "missed",
        },
        {
            "fault": "b",
            "culprit": "",
            "restored": "NO",
            "x.four": "red, unexpected",
            "x.one": "",
            "x.three": "",
            "x.two": "caught",
        },
    ]


def test_the_terminal_gets_a_line_per_fault() -> None:
    first, second = lines(CATCHES)
    assert (first["caught by"], first["red with it"], first["missed by"]) == ("x.one", "x.three", "x.two")
    assert (second["caught by"], second["red, unexpected"], second["restored"]) == ("x.two", "x.four", "NO")


def test_the_page_is_made_from_a_result(tmp_path: Path) -> None:
    text = page({**FULL, "catches": CATCHES})
    assert "**0 of 2 faults caught**" in text
    assert "| fault | x.four | x.one | x.three | x.two | culprit | restored |" in text
    assert "| a |  | ● | ○ | ✗ missed | named no. 2; beside newer changes not named | yes |" in text
    assert "| b | ✗ unexpected |  |  | ● |  | **no** |" in text


def test_a_later_run_of_single_faults_takes_the_place_of_what_was_said(tmp_path: Path) -> None:
    fresh = [{**CATCHES[1], "restored": True}, {**CATCHES[0], "fault": "c"}]
    text = page({**FULL, "catches": CATCHES}, {**FULL, "started": "2027-01-02T03:04:05Z", "catches": fresh})
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith(("| a |", "| b |", "| c |"))][:3] == [
        "| a", "| b", "| c",
    ]  # fmt: skip
    assert "| b | ✗ unexpected |  |  | ● |  | yes |" in text and "of 3 faults caught" in text
    assert "2027-01-02: b, c." in text


def test_the_command_writes_the_page_or_says_what_is_wrong(tmp_path: Path, capsys) -> None:
    import json

    source, target = tmp_path / "result.json", tmp_path / "page.md"
    assert main([]) == 2
    assert main([str(source), str(target)]) == 2
    source.write_text(json.dumps({**FULL, "catches": []}))
    assert main([str(source), str(target)]) == 2
    assert "has no catches" in capsys.readouterr().err
    source.write_text(json.dumps({"catches": CATCHES, "checks": []}))
    assert main([str(source), str(target)]) == 2
    assert "started" in capsys.readouterr().err
    assert not target.exists()
    source.write_text(json.dumps({**FULL, "catches": CATCHES}))
    assert main([str(source), str(target)]) == 0
    assert target.read_text().startswith("# Planted faults")
