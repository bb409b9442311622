"""No check fails on what a manifest holds: each value is replaced by one of every other kind."""

import copy
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest

from pgpo_async.kuberay.check import run
from pgpo_async.kuberay.check.checking import check_manifests
from pgpo_async.kuberay.check.manifest import Manifest

WRONG: tuple[Any, ...] = (None, "x", [None, "x", {}], {"x": None})


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield (*path, key)
        yield from paths(inner, (*path, key))


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_value_of_another_kind_is_read_past(planted, wrong, monkeypatch):
    monkeypatch.setattr(run, "_loaded", lru_cache(run._loaded))  # the config is nearly always the same
    planted.autoscale()
    planted.cluster["gcsFaultToleranceOptions"] = {
        "redisAddress": "redis:6379",
        "redisPassword": {"value": "x"},
    }
    planted.cluster["networkPolicy"] = {"mode": "DenyAll", "workerGroups": [{"groupName": "scorer"}]}
    planted.job["deletionStrategy"] = {
        "deletionRules": [{"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED", "ttlSeconds": 5}}]
    }
    planted.cluster["workerGroupSpecs"] = [planted.group("generator")]  # the others are alike
    for number, body in enumerate(planted.bodies):
        for *above, last in list(paths(body)):
            changed = copy.deepcopy(body)
            holder = changed
            for key in above:
                holder = holder[key]
            holder[last] = copy.deepcopy(wrong)
            bodies = [*planted.bodies[:number], changed, *planted.bodies[number + 1 :]]
            check_manifests([Manifest(file="k8s.yaml", body=each) for each in bodies], None)
