"""The placement plan and its check against what exists."""

import pytest

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.placement import NodeOffer, local_cpus, matches, plan_placement


def test_the_cluster_config_asks_for_one_gpu_an_actor():
    plan = plan_placement(load_config("configs/cluster.yaml"))
    replicas = {role.role: role.replicas for role in plan.roles if role.gpus}
    assert replicas == {"generator": 8, "scorer": 2, "learner": 8}
    assert plan.total("GPU") == 18


def test_more_gpus_than_exist_is_refused_with_both_numbers_and_who_asks():
    plan = plan_placement(load_config("configs/cluster.yaml"))
    with pytest.raises(ConfigError) as caught:
        plan.check([NodeOffer(resources={"CPU": 1000.0, "GPU": 8.0})])
    (issue,) = caught.value.issues
    assert issue.startswith("generator.gpus: the run asks for 18 GPUs")
    assert "scorer 2 x 1" in issue
    assert "there are 8" in issue


def test_fractions_that_fill_a_two_gpu_box_exactly_are_accepted():
    overrides = ["generator.gpus=1", "scorer.gpus=0.3", "learner.gpus=0.7"]
    plan = plan_placement(load_config("configs/local.yaml", overrides))
    plan.check([NodeOffer(resources={"CPU": 8.0, "GPU": 2.0})])
    with pytest.raises(ConfigError):
        plan.check([NodeOffer(resources={"CPU": 8.0, "GPU": 1.0})])


def test_both_resources_are_reported_at_once():
    plan = plan_placement(load_config("configs/local.yaml", ["generator.gpus=1"]))
    with pytest.raises(ConfigError) as caught:
        plan.check([NodeOffer(resources={"CPU": 1.0})])
    assert [issue.split(":")[0] for issue in caught.value.issues] == ["generator.gpus", "generator.cpus"]


def test_a_ray_started_here_offers_what_the_plan_asks_for():
    config = load_config("configs/local.yaml", ["generator.cpus=7"])
    assert local_cpus(config, machine_cpus=2) >= plan_placement(config).total("CPU")
    assert local_cpus(load_config("configs/local.yaml"), machine_cpus=2) == 2
    assert local_cpus(load_config("configs/local.yaml", ["ray.num_cpus=9"]), machine_cpus=2) == 9


OWN_NODES = ["generator.labels.pool=generators", "generator.gpus=2", "scorer.resources.scorer_node=1"]


def test_roles_with_nodes_of_their_own_fit_only_those():
    plan = plan_placement(load_config("configs/local.yaml", OWN_NODES))
    generators = NodeOffer(resources={"CPU": 1.0, "GPU": 2.0}, labels={"pool": "generators"})
    scorers = NodeOffer(resources={"CPU": 4.0, "scorer_node": 1.0})
    plan.check([generators, scorers])
    (issue,) = plan.lacking([NodeOffer(resources=generators.resources), scorers])
    assert issue == "generator.labels: no node has pool=generators"
    (issue,) = plan.lacking([generators, NodeOffer(resources={"CPU": 4.0})])
    assert issue.startswith("scorer.resources.scorer_node: the run asks for 1 scorer_node")


def test_an_actor_that_no_single_node_can_hold_is_refused_though_all_together_could():
    plan = plan_placement(load_config("configs/local.yaml", ["generator.gpus=2"]))
    halves = [NodeOffer(resources={"CPU": 4.0, "GPU": 1.0})] * 2
    (issue,) = plan.lacking(halves)
    assert issue.startswith("generator.gpus: each asks for 2 GPUs, no node it may use has more than 1")


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [("a", True), ("b", False), ("!a", False), ("!b", True), ("in(b, a)", True), ("!in(b, a)", False)],
)
def test_label_selectors_mean_what_they_mean_to_ray(wanted, fits):
    assert matches({"pool": "a"}, "pool", wanted) == fits


def test_engines_that_evaluate_during_training_are_placed_as_generators_beside_them():
    overrides = ["evaluation.every=10", "evaluation.replicas=2", "evaluation.num_prompts=100"]
    plan = plan_placement(load_config("configs/cluster.yaml", overrides))
    (role,) = [role for role in plan.roles if role.role == "evaluation"]
    assert (role.replicas, role.gpus, role.cpus) == (2, 1, 4)
    assert plan.total("GPU") == 20
