"""An IstioOperator file is judged before Istio sees it, with every problem named."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.core.errors import InputError
from meshlab.istio import operator_file

GOOD = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n"


def problems(tmp_path: Path, text: str, *, embedded: bool = True) -> list[str]:
    path = tmp_path / "operator.yaml"
    path.write_text(text)
    return [problem.what for problem in operator_file.problems(path, embedded=embedded)]


def test_a_good_file_has_no_problems(tmp_path: Path):
    assert problems(tmp_path, GOOD + "spec: {profile: demo, meshConfig: {accessLogFile: /dev/stdout}}") == []


def test_an_empty_spec_is_fine(tmp_path: Path):
    assert problems(tmp_path, GOOD + "spec:") == []


def test_a_missing_file(tmp_path: Path):
    [problem] = operator_file.problems(tmp_path / "none.yaml", embedded=True)
    assert "No such file" in problem.what and problem.remedy


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: [", "is not valid YAML at line 1"),
        ("", "holds 0 YAML documents"),
        (GOOD + "---\n" + GOOD, "holds 2 YAML documents"),
        ("[1]", "is not a mapping"),
        ("apiVersion: v1\nkind: ConfigMap\n", "is a v1 ConfigMap, not an IstioOperator"),
        (GOOD + "spec: 3", "spec is not a mapping"),
        (GOOD + "spec: {profil: demo}", "spec.profil is not a field"),
        (GOOD + "spec: {values: 1}", "spec.values is not a mapping"),
        (GOOD + "spec: {namespace: mesh}", "puts Istio into namespace mesh"),
        (GOOD + "spec: {components: {ztunnel: {enabled: true}}}", "enables ztunnel"),
        (GOOD + "spec: {installPackagePath: /charts}", "spec.installPackagePath"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, what: str):
    found = problems(tmp_path, text)
    assert len(found) == 1 and found[0].startswith(what)


def test_a_release_may_have_what_the_embedded_one_lacks(tmp_path: Path):
    assert problems(tmp_path, GOOD + "spec: {components: {cni: {enabled: true}}}", embedded=False) == []


def test_several_problems_are_all_named(tmp_path: Path):
    assert len(problems(tmp_path, GOOD + "spec: {profil: a, tags: b, namespace: c}")) == 3


def test_read_refuses_what_has_problems(tmp_path: Path):
    path = tmp_path / "operator.yaml"
    path.write_text("kind: Pod")
    with pytest.raises(InputError, match="not an IstioOperator"):
        operator_file.read(path)


def test_at_gives_none_where_the_path_ends_early():
    assert operator_file.at({"a": {"b": 1}}, "a.b") == 1
    assert operator_file.at({"a": 1}, "a.b.c") is None
