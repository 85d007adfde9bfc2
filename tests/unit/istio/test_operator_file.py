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
        (GOOD + "spec: {components: {pilot: true}}", "spec.components.pilot is not a mapping"),
        (GOOD + "spec: {components: {pilots: {}}}", "spec.components.pilots is not a component"),
        (GOOD + "spec: {components: {pilot: {enabled: 'yes'}}}", "spec.components.pilot.enabled is 'yes'"),
        (
            GOOD + "spec: {components: {pilot: {k8s: {env: {A: b}}}}}",
            "spec.components.pilot.k8s.env is not a list",
        ),
        (
            GOOD + "spec:\n  meshConfig: {}\n  profile: demo\n  meshConfig: {}\n",
            "meshConfig stands twice in one mapping, at line 6",
        ),
        (
            GOOD + "spec: {components: {ingressGateways: {enabled: true}}}",
            "spec.components.ingressGateways is not a list",
        ),
        (
            GOOD + "spec: {components: {egressGateways: [{enabled: true}]}}",
            "spec.components.egressGateways[0] has no name",
        ),
        (
            GOOD + "spec: {meshConfig: {extensionProviders: {jaeger: {}}}}",
            "spec.meshConfig.extensionProviders is not a list",
        ),
        (GOOD + "spec: {meshConfig: {defaultConfig: 1}}", "spec.meshConfig.defaultConfig is not a mapping"),
        (GOOD + "spec: {values: {pilot: 1}}", "spec.values.pilot is not a mapping"),
        (GOOD + "spec: {revision: 1.28}", "spec.revision is not text"),
        (GOOD + "spec: {revision: 1.28.3}", "spec.revision 1.28.3 can't be part of a name"),
        (GOOD + "spec: {installPackagePath: /charts}", "spec.installPackagePath"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, what: str):
    found = problems(tmp_path, text)
    assert len(found) == 1 and found[0].startswith(what)


def test_a_release_may_have_what_the_embedded_one_lacks(tmp_path: Path):
    assert problems(tmp_path, GOOD + "spec: {components: {cni: {enabled: true}}}", embedded=False) == []


def test_the_cni_agent_needs_to_be_asked_for_and_the_remedy_says_how(tmp_path: Path):
    path = tmp_path / "operator.yaml"
    path.write_text(GOOD + "spec: {components: {cni: {enabled: true}}}")
    assert operator_file.problems(path, embedded=True, cni=True) == []
    [problem] = operator_file.problems(path, embedded=True)
    assert problem.what.startswith("enables cni") and "local.cni=true" in problem.remedy


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


def test_case_31_every_problem_is_named_at_once(tmp_path: Path):
    text = (
        GOOD
        + """spec:
  meshConfig: {trustDomain: corp.example}
  components:
    pilot: true
    ingressGateways: {enabled: true}
  meshConfig: 7
"""
    )
    assert sorted(problems(tmp_path, text)) == [
        "meshConfig stands twice in one mapping, at line 8 again",
        "spec.components.ingressGateways is not a list",
        "spec.components.pilot is not a mapping",
        "spec.meshConfig is not a mapping",
    ]


def test_what_istioctl_takes_is_taken(tmp_path: Path):
    text = (
        GOOD
        + """spec:
  profile: default
  revision: stable
  tag: 1.28
  meshConfig:
    trustDomain: corp.example
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
    extensionProviders: [{name: jaeger, zipkin: {service: a, port: 9411}}]
  components:
    base:
    pilot: {enabled: true, k8s: {env: [{name: A, value: b}], replicaCount: 1}}
    egressGateways: [{name: istio-egressgateway, enabled: true}]
  values: {pilot: {env: {}}, global: }
"""
    )
    assert problems(tmp_path, text) == []


def test_a_merge_key_stands_as_often_as_it_likes(tmp_path: Path):
    text = GOOD + "x: &a {tag: a}\nspec:\n  values: {<<: *a, tag: b}\n"
    assert problems(tmp_path, text) == []
