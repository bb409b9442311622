"""Waiting for a cluster's nodes. The test plays Ray."""

import pytest

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration import nodes as module
from pgpo_async.orchestration.nodes import wait_for_nodes
from pgpo_async.orchestration.placement import NodeOffer, plan_placement

BOX = NodeOffer(resources={"CPU": 8.0})


@pytest.fixture
def cluster(monkeypatch):
    """`there` has the nodes found at each look, the last one for ever; `asked` what an autoscaler hears."""

    class Played:
        there = ((),)
        asked: list = []  # noqa: RUF012

        def look(self):
            self.there, found = self.there[1:] or self.there, self.there[0]
            return list(found)

    played = Played()
    played.asked = []
    monkeypatch.setattr(module, "nodes_there", played.look)
    monkeypatch.setattr(module, "LOOK_S", 0.001)
    monkeypatch.setattr("ray.autoscaler.sdk.request_resources", lambda **asked: played.asked.append(asked))
    return played


def waited(cluster, *overrides):
    config = load_config("configs/local.yaml", overrides)
    said = []
    wait_for_nodes(plan_placement(config), config.ray, said.append)
    return said


def test_nodes_that_come_late_are_waited_for_and_an_autoscaler_is_asked_for_them(cluster):
    cluster.there = ((), (), (BOX,))
    (line,) = waited(cluster, "ray.address=auto", "generator.replicas=2")
    assert line.startswith("waiting for nodes, at most 600 s: ")
    asked, nothing = cluster.asked
    assert asked["bundles"].count({"CPU": 0.5}) == 3, "two generators and a learner"
    assert len(asked["bundle_label_selectors"]) == len(asked["bundles"])
    assert nothing == {"bundles": []}, "its actors ask for themselves then"


def test_a_cluster_that_never_has_enough_ends_with_what_it_lacks(cluster):
    with pytest.raises(ConfigError) as caught:
        waited(cluster, "ray.address=auto", "ray.nodes_timeout_s=0.02", "learner.gpus=1")
    assert [line.split(":")[0] for line in caught.value.issues] == ["generator.cpus", "learner.gpus"]
    assert all("ray.nodes_timeout_s" in line for line in caught.value.issues)
    assert cluster.asked[-1] == {"bundles": []}


def test_a_ray_started_here_is_not_waited_for(cluster):
    with pytest.raises(ConfigError):
        waited(cluster, "learner.gpus=1")
    assert cluster.asked == []
