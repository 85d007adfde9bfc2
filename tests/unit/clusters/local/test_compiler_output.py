"""Each known trouble is recognised by the words that Go really uses, and answered with its remedy."""

from __future__ import annotations

import pytest

from meshlab.clusters.local import compiler_output

SAID = {
    "disk is full": "# k8s.io/api/core/v1\nwrite $WORK/b123/_pkg_.a: no space left on device",
    "checksum": "verifying k8s.io/api@v0.36.1: checksum mismatch\n\tdownloaded: h1:x\n\tgo.sum: h1:y",
    "refuses": "go: istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad: reading https://proxy.example.org/istio.io/istio"
    "/@v/v0.0.0.mod: 404 Not Found",
    "can't be reached": 'go: k8s.io/api@v0.36.1: Get "https://proxy.example.org/k8s.io/api/@v/v0.36.1.mod": '
    "dial tcp 192.0.2.1:443: connect: connection refused",
    "too old": "go: go.mod requires go >= 1.27.0 (running go 1.26.8; GOTOOLCHAIN=local)",
    "killed": "# k8s.io/kubernetes/pkg/apis\n/usr/lib/go/pkg/tool/linux_amd64/compile: signal: killed",
    "do not belong together": "go: updates to go.mod needed; to update it:\n\tgo mod tidy",
    "the compiler refused it": "# example.org/x\n./x.go:3:1: undefined: y",
}


@pytest.mark.parametrize(("meaning", "said"), SAID.items(), ids=list(SAID))
def test_a_trouble_is_recognised(meaning: str, said: str) -> None:
    error = compiler_output.explain("compile cluster", said, "/logs/compile.log")
    assert meaning in error.message
    assert error.remedy
    assert "/logs/compile.log" in error.message
    assert error.retryable == (meaning in ("can't be reached", "killed"))


def test_the_first_errors_are_shown_without_the_names_of_compiled_packages() -> None:
    noise = ["errors", "k8s.io/api/core/v1", "go: downloading k8s.io/api v0.36.1"]
    errors = ["# example.org/x", *(f"./x.go:{n}:1: undefined: y" for n in range(40))]
    shown = compiler_output.first_errors("\n".join(noise + errors))
    assert shown == errors[: compiler_output.SHOWN_LINES]


def test_silence_is_said_so() -> None:
    assert "nothing" in compiler_output.explain("compile", "", "log").message
