"""Quantities, selectors and versions as Kubernetes and the operator read them."""

import math

import pytest

from pgpo_async.kuberay.check.manifest import Manifest
from pgpo_async.kuberay.check.operator.versions import older_than
from pgpo_async.kuberay.check.pods import all_pods
from pgpo_async.kuberay.check.quantities import quantity
from pgpo_async.kuberay.check.references.selectors import selects
from pgpo_async.kuberay.check.security.images import image_problem
from pgpo_async.kuberay.check.yaml_text import read_documents


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("500m", 0.5),
        ("4Gi", 4 << 30),
        ("2k", 2000),
        ("1e3", 1000),
        ("3E", 3e18),
        ("1Ei", 1 << 60),
        (2, 2),
        (".5", 0.5),
    ],
)
def test_a_quantity_is_a_number(written, amount):
    assert quantity(written) == pytest.approx(amount)


@pytest.mark.parametrize(
    "written", ["", "4 Gi", "4GB", "x", None, True, [], "1e", "--1", "1e999", 10**400, math.inf]
)
def test_what_is_no_quantity_is_none(written):
    assert quantity(written) is None


@pytest.mark.parametrize(
    ("selector", "heads", "workers"),
    [
        ({}, 1, 3),
        ({"matchLabels": {"ray.io/node-type": "worker"}}, 0, 3),
        ({"matchLabels": {"ray.io/group": "scorer"}}, 0, 1),
        ({"matchLabels": {"pgpo-async/role": "learner"}}, 0, 1),
        ({"matchLabels": {"ray.io/cluster": "made-up-when-it-runs"}}, 1, 3),
        (
            {
                "matchExpressions": [
                    {"key": "ray.io/group", "operator": "In", "values": ["scorer", "learner"]}
                ]
            },
            0,
            2,
        ),
        ({"matchExpressions": [{"key": "ray.io/group", "operator": "NotIn", "values": ["scorer"]}]}, 1, 2),
        ({"matchExpressions": [{"key": "pgpo-async/role", "operator": "DoesNotExist"}]}, 1, 0),
        ({"matchExpressions": [{"key": "ray.io/cluster", "operator": "Exists"}]}, 1, 3),
    ],
)
def test_a_selector_takes_the_pods_that_will_have_its_labels(planted, selector, heads, workers):
    pods = all_pods([Manifest(file="k8s.yaml", body=planted.the("RayJob"))])
    taken = [pod.group.is_head for pod in pods if pod.group and selects(selector, pod)]
    assert (taken.count(True), taken.count(False)) == (heads, workers)


@pytest.mark.parametrize(
    ("version", "older"),
    [("2.52.0", False), ("2.60.0", False), ("2.9.3", True), ("3.0", False), ("", True), ("latest", True)],
)
def test_versions_are_compared_as_numbers(version, older):
    assert older_than(version, "2.52.0") is older


@pytest.mark.parametrize("image", ["host:5000/a/b:1.2", "a@sha256:" + "0" * 64, "a:latest-1"])
def test_an_image_that_stays_the_same_is_fine(image):
    assert image_problem(image) is None


def test_yaml_is_read_as_json_would_have_it():
    [document] = read_documents("a: 2024-01-01\nb: {operator: =}\nbase: &b {x: 1}\nc: {<<: *b, x: 2}\n")
    assert document == {"a": "2024-01-01", "b": {"operator": "="}, "base": {"x": 1}, "c": {"x": 2}}
