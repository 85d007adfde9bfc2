"""The model of Envoy's filters against real ones: what it says of a request is what Envoy does."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from meshlab.clusters.local.images import envoy_binary
from tests.differential import envoy, generate, worlds
from tests.differential.real_envoy import Keys, ask, later, listener, running

CASES = 8  # of each of the kept worlds


@pytest.mark.long
def test_the_model_says_what_envoy_does(tmp_path: Path) -> None:
    keys, listeners, wanted = Keys(tmp_path), [], []
    now = time.time()
    for seed, (world, config) in enumerate(generate.kept()):
        address = f"127.77.0.{seed + 1}"
        merge = world["slashes"] == "MERGE_SLASHES"
        listeners += [
            listener(address, port, config["filters"], keys, merge_slashes=merge) for port in worlds.PORTS
        ]
        for case in worlds.requests(seed, CASES, now=now):
            wire = replace(case.wire, destination=address)
            wanted.append((wire, envoy.answer(config["filters"], wire, now=now, merge_slashes=merge)))
    with running(envoy_binary(), listeners, tmp_path), ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda one: ask(keys, later(one[0], time.time() - now)), wanted))
    wrong = [
        f"model {said}, Envoy {did}: {wire}"
        for (wire, said), did in zip(wanted, seen, strict=True)
        if said != did
    ]
    assert wrong == []
    assert len(seen) >= 1000
    told = Counter(seen)
    assert min(told[one] for one in (envoy.ALLOW, envoy.DENY, envoy.UNAUTHENTICATED)) > 100
    assert told[envoy.FORBIDDEN_TOKEN] > 10
