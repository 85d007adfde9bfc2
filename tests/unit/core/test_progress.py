import pytest

from meshlab.core.progress import Update


@pytest.mark.parametrize(
    ("done", "total", "percent"), [(0, 0, None), (0, 4, 0.0), (1, 4, 25.0), (5, 4, 100.0), (3, -1, None)]
)
def test_percent_is_only_there_where_the_total_is_known(done: int, total: int, percent: float | None) -> None:
    assert Update("compile", done, total).percent == percent
