"""Manifests of a run: they say what its config says, always in the same bytes, and nothing drifts from it."""

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.config import load_config
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.cluster_config import CONFIG_NAME
from pgpo_async.kuberay.overlays import BASE, DEFAULTS, OVERLAYS
from pgpo_async.kuberay.planned_run import plan_run
from pgpo_async.kuberay.quantities import GI, as_memory
from pgpo_async.kuberay.render import as_text, rendered
from pgpo_async.kuberay.settings import load_settings
from pgpo_async.kuberay.writing import DEMO, planned, shipped_tree
from pgpo_async.orchestration.placement import NodeOffer, plan_placement

ROOT = Path(__file__).parents[3]
LOCAL, CLUSTER = ROOT / "configs/local.yaml", ROOT / "configs/cluster.yaml"
SETTINGS = ROOT / "k8s/settings.yaml"


def shipped(overlay, *overrides, set_=()):
    config = LOCAL if overlay == DEMO else CLUSTER
    return planned(config, overrides, overlay, None if overlay == DEMO else SETTINGS, set_)


def objects_of(overlay, *overrides, set_=()):
    return rendered(shipped(overlay, *overrides, set_=set_), overlay)


def of_kind(objects, kind):
    return [found for found in objects if found["kind"] == kind]


def job_of(objects):
    (job,) = of_kind(objects, "RayJob")
    return job


def cluster_of(objects):
    return job_of(objects)["spec"]["rayClusterSpec"]


def flat(value, path=""):
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{path}/{key}").items()}
    if isinstance(value, list):
        names = [
            str(inner.get("groupName", inner.get("name", at))) if isinstance(inner, dict) else str(at)
            for at, inner in enumerate(value)
        ]
        return {
            k: v
            for name, inner in zip(names, value, strict=True)
            for k, v in flat(inner, f"{path}/{name}").items()
        }
    return {path: value}


def changed(overlay, *overrides):
    """Return the paths at which a changed config changes the manifests."""

    def paths(objects):
        return flat({f"{found['kind']}:{found['metadata']['name']}": found for found in objects})

    before, after = paths(objects_of(overlay)), paths(objects_of(overlay, *overrides))
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rendering_twice_gives_the_same_bytes(overlay):
    assert as_text(objects_of(overlay)) == as_text(objects_of(overlay))


def test_another_process_with_other_hashes_renders_the_same_bytes():
    def told(seed):
        command = [sys.executable, "-m", "pgpo_async", "k8s", "render", str(LOCAL), "--overlay", DEMO]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120).stdout

    assert told("1") == told("2") == as_text(objects_of(DEMO)).encode()


def test_the_committed_tree_is_what_the_renderer_writes():
    files = shipped_tree(CLUSTER, LOCAL, SETTINGS)
    there = {
        str(path.relative_to(ROOT / "k8s"))
        for folder in ("base", "overlays")
        for path in (ROOT / "k8s" / folder).rglob("*")
        if path.is_file()
    }
    assert there == {name for name in files if not name.startswith("monitoring")}, "pgpo-async k8s tree k8s"
    for name, text in files.items():
        assert (ROOT / "k8s" / name).read_text() == text, f"{name}: run pgpo-async k8s tree k8s"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_makes_of_the_tree_what_render_prints(overlay):
    folder = ROOT / "k8s" / (BASE if overlay == BASE else f"overlays/{overlay}")
    built = subprocess.run(
        ["kubectl", "kustomize", str(folder)], check=True, capture_output=True, timeout=60, text=True
    ).stdout
    found = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(built)}
    assert found == {(one["kind"], one["metadata"]["name"]): one for one in objects_of(overlay)}


JOB = "/RayJob:qwen2-5-vl-7b-pgpo/spec/rayClusterSpec"
CONFIG = "/ConfigMap:qwen2-5-vl-7b-pgpo-config/data/config.yaml"


def group(role, *paths):
    return {f"{JOB}/workerGroupSpecs/{role}/{path}" for path in paths}


def memory_of(role):
    path = "head" if role == "head" else f"workerGroupSpecs/{role}"
    path = f"{JOB}/headGroupSpec" if role == "head" else f"{JOB}/{path}"
    container = f"{path}/template/spec/containers/ray-{'head' if role == 'head' else 'worker'}/resources"
    return {
        f"{path}/template/spec/volumes/shared-memory/emptyDir/sizeLimit",
        f"{container}/requests/memory",
        f"{container}/limits/memory",
    }


COUNTS = ("replicas", "minReplicas", "maxReplicas")
CHANGES = {
    "learner.optimizer.lr=2e-6": {CONFIG},
    "generator.replicas=9": {CONFIG} | group("generator", *COUNTS),
    "scorer.cpus=6": {CONFIG}
    | group("scorer", "resources/CPU", "template/spec/containers/ray-worker/resources/requests/cpu"),
    "generator.gpus=2": {CONFIG}
    | group(
        "generator",
        "resources/GPU",
        "template/spec/containers/ray-worker/resources/requests/nvidia.com/gpu",
        "template/spec/containers/ray-worker/resources/limits/nvidia.com/gpu",
    ),
    "weights.keep_versions=3": {CONFIG, f"{JOB}/headGroupSpec/rayStartParams/object-store-memory"}
    | memory_of("head")
    | memory_of("generator")
    | memory_of("scorer"),
    "generator.resources={licence: 1}": {CONFIG} | group("generator", "resources/licence"),
}


@pytest.mark.parametrize("override", CHANGES)
def test_a_changed_config_changes_only_what_it_must(override):
    assert changed("gpu", override) == CHANGES[override]


def test_without_scorers_there_is_no_group_of_scorers():
    plain = ["algorithm.shaper={name: none}", "algorithm.proximal=interpolated"]
    cluster = cluster_of(objects_of("gpu", *plain))
    assert [found["groupName"] for found in cluster["workerGroupSpecs"]] == ["generator", "learner"]


def offers_of(cluster):
    """The nodes that the operator makes, as Ray counts them."""
    for found in cluster["workerGroupSpecs"]:
        resources = {name: float(amount) for name, amount in found["resources"].items()}
        for _ in range(found["replicas"]):
            yield NodeOffer(resources=resources, labels=found["labels"])
    yield NodeOffer(resources={"CPU": float(cluster["headGroupSpec"]["resources"]["CPU"])}, labels={})


ROLE = st.fixed_dictionaries(
    {"replicas": st.integers(1, 12), "cpus": st.sampled_from([0.1, 0.3, 1.0, 2.5, 8.0])}
)
PER_POD = st.none() | st.integers(1, 8)


@settings(max_examples=60, deadline=None)
@given(
    generator=ROLE, scorer=ROLE, learner=ROLE, reward=ROLE,
    gpus=st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]), per_pod=st.tuples(PER_POD, PER_POD, PER_POD),
    per_machine=st.integers(1, 8), overlay=st.sampled_from(["base", "gpu", "autoscaled", "kueue"]),
    evaluators=st.integers(0, 3),
)  # fmt: skip
def test_all_actors_of_any_run_fit_the_nodes_and_each_role_has_its_own(
    generator, scorer, learner, reward, gpus, per_pod, per_machine, overlay, evaluators
):
    values = load_config(LOCAL, ["train.groups_per_step=32"]).model_dump()
    if evaluators:
        values["evaluation"] |= {"every": 5, "replicas": evaluators}
    for name, role in (
        ("generator", generator),
        ("scorer", scorer),
        ("learner", learner),
        ("reward", reward),
    ):
        values[name] |= role
    values["generator"]["gpus"], values["scorer"]["gpus"], values["learner"]["gpus"] = (
        gpus,
        gpus,
        min(gpus, 1.0),
    )
    if not gpus and overlay != "base":
        values["learner"]["gpus"] = 1.0
    # No pod larger than a machine: that is refused, and tested by itself.
    per_machine = max([per_machine, *((number or 1) * math.ceil(max(gpus, 1)) for number in per_pod)])
    sets = [f"scheduling.gpus_per_machine={per_machine}"]
    sets += [
        f"{name}.actors_per_pod={number}"
        for name, number in zip(("generator", "scorer", "learner"), per_pod, strict=True)
        if number is not None
    ]
    run = plan_run(RunConfig.model_validate(values), load_settings(None, sets))
    objects = rendered(run, overlay)
    offers = list(offers_of(cluster_of(objects)))
    assert plan_placement(run.config).lacking(offers) == []
    # And none of them is too large: with a pod fewer of any group something does not fit.
    for shape in run.shapes:
        fewer = list(offers)
        fewer.remove(next(offer for offer in offers if offer.labels == shape.labels))
        assert plan_placement(run.config).lacking(fewer)


def bytes_of(quantity):
    number, unit = quantity[:-2], {"Gi": GI, "Mi": GI >> 10}[quantity[-2:]]
    return int(number) * unit


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_shared_memory_holds_the_object_store_and_the_staged_weights_and_memory_holds_both(overlay):
    run = shipped(overlay)
    cluster = cluster_of(rendered(run, overlay))
    for found in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        spec = found["template"]["spec"]
        (shared,) = (volume["emptyDir"] for volume in spec["volumes"] if volume["name"] == "shared-memory")
        store = int(found["rayStartParams"]["object-store-memory"])
        staged = run.memory.planned.staged_bytes if found.get("groupName") in ("generator", "scorer") else 0
        assert shared["medium"] == "Memory"
        assert store + staged <= bytes_of(shared["sizeLimit"])
        limits = spec["containers"][0]["resources"]["limits"]
        assert bytes_of(shared["sizeLimit"]) < bytes_of(limits["memory"])
    head = int(cluster["headGroupSpec"]["rayStartParams"]["object-store-memory"])
    assert head >= run.memory.planned.object_store_bytes


def test_the_config_map_holds_the_run_that_launch_reads(tmp_path):
    config = tmp_path / CONFIG_NAME
    (found,) = (one for one in of_kind(objects_of("gpu"), "ConfigMap") if CONFIG_NAME in one["data"])
    config.write_text(found["data"][CONFIG_NAME])
    inside, outside = load_config(config), load_config(CLUSTER)
    assert inside.ray.address == "auto"
    assert (inside.output_dir, inside.data.source) == ("/runs", "/data/virl39k.parquet")
    same = {"ray", "output_dir", "data", "evaluation", "metrics", "generator", "scorer", "learner", "reward"}
    assert inside.model_dump(exclude=same) == outside.model_dump(exclude=same)
    assert inside.learner.optimizer == outside.learner.optimizer


def test_only_what_may_be_lost_runs_where_the_cloud_takes_machines_back():
    groups = {found["groupName"]: found for found in cluster_of(objects_of("gpu"))["workerGroupSpecs"]}
    tolerated = {
        name: {taint["key"] for taint in found["template"]["spec"]["tolerations"]}
        for name, found in groups.items()
    }
    spot = {taint.partition("=")[0] for taint in shipped("gpu").settings.scheduling.spot_tolerations}
    assert spot <= tolerated["generator"]
    assert spot <= tolerated["scorer"]
    assert tolerated["learner"] == {"nvidia.com/gpu"}
    assert "tolerations" not in cluster_of(objects_of("gpu"))["headGroupSpec"]["template"]["spec"]


def test_no_autoscaler_of_machines_moves_the_head_or_the_learner():
    cluster = cluster_of(objects_of("gpu"))
    kept = {
        found.get("groupName", "head")
        for found in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        if found["template"]["metadata"]
        .get("annotations", {})
        .get("cluster-autoscaler.kubernetes.io/safe-to-evict")
        == "false"
    }
    assert kept == {"head", "learner"}


def test_the_ranks_of_several_machines_stay_together():
    objects = objects_of("gpu", "learner.replicas=24")
    (learner,) = (
        found for found in cluster_of(objects)["workerGroupSpecs"] if found["groupName"] == "learner"
    )
    assert (learner["replicas"], learner["resources"]["GPU"]) == (3, "8")
    affinity = learner["template"]["spec"]["affinity"]["podAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    wanted = term["labelSelector"]["matchLabels"]
    assert wanted.items() <= learner["template"]["metadata"]["labels"].items()
    assert term["topologyKey"] == "topology.kubernetes.io/zone"


def test_the_autoscaler_alone_may_ask_the_api_server_and_never_touches_the_learner():
    objects = objects_of("autoscaled")
    cluster = cluster_of(objects)
    bounds = {
        found["groupName"]: (found["minReplicas"], found["replicas"], found["maxReplicas"])
        for found in cluster["workerGroupSpecs"]
    }
    assert bounds == {"generator": (1, 8, 16), "scorer": (1, 2, 4), "learner": (1, 1, 1)}
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert head["automountServiceAccountToken"] is False
    assert token not in [mount["mountPath"] for mount in head["containers"][0]["volumeMounts"]]
    mounts = {mount["mountPath"]: mount["name"] for mount in cluster["autoscalerOptions"]["volumeMounts"]}
    assert mounts[token] in [volume["name"] for volume in head["volumes"]]
    policies = {found["metadata"]["name"]: found["spec"] for found in of_kind(objects, "NetworkPolicy")}
    assert policies["pgpo-async-api-server"]["podSelector"]["matchLabels"] == {"ray.io/node-type": "head"}
    assert "pgpo-async-api-server" not in [
        found["metadata"]["name"] for found in of_kind(objects_of("gpu"), "NetworkPolicy")
    ]


def test_kueue_has_quota_for_the_whole_run_and_gets_it_suspended():
    objects = objects_of("kueue")
    job = job_of(objects)
    assert job["spec"]["suspend"] is True
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert "enableInTreeAutoscaling" not in job["spec"]["rayClusterSpec"]
    (local,) = of_kind(objects, "LocalQueue")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == local["metadata"]["name"]
    (queue,) = of_kind(objects, "ClusterQueue")
    (flavor,) = queue["spec"]["resourceGroups"][0]["flavors"]
    quota = {found["name"]: found["nominalQuota"] for found in flavor["resources"]}
    cluster = cluster_of(objects)
    pods = [(1, cluster["headGroupSpec"])] + [(one["replicas"], one) for one in cluster["workerGroupSpecs"]]
    asked = [(n, one["template"]["spec"]["containers"][0]["resources"]["requests"]) for n, one in pods]
    assert int(quota["nvidia.com/gpu"]) == 18
    assert bytes_of(quota["memory"]) >= sum(number * bytes_of(one["memory"]) for number, one in asked)
    assert int(quota["cpu"]) >= sum(number * int(one["cpu"]) for number, one in asked)


def test_redis_and_secrets_are_named_and_never_told():
    sets = ["redis.address=redis.data:6380", "redis.password=redis/password", "secrets.HF_TOKEN=hub/token"]
    objects = objects_of("gpu", set_=sets)
    options = cluster_of(objects)["gcsFaultToleranceOptions"]
    assert options["redisAddress"] == "redis.data:6380"
    assert options["redisPassword"]["valueFrom"]["secretKeyRef"] == {"name": "redis", "key": "password"}
    for found in cluster_of(objects)["workerGroupSpecs"]:
        env = {entry["name"]: entry for entry in found["template"]["spec"]["containers"][0]["env"]}
        assert env["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "hub", "key": "token"}
    policies = {found["metadata"]["name"]: found["spec"] for found in of_kind(objects, "NetworkPolicy")}
    assert policies["pgpo-async-redis"]["egress"][0]["ports"][0]["port"] == 6380


def test_dashboards_fit_config_maps_and_are_those_of_the_registry():
    found = [one for one in of_kind(objects_of("gpu"), "ConfigMap") if "grafana_dashboard" in str(one)]
    texts = {name: text for one in found for name, text in one["data"].items()}
    folder = ROOT / "k8s/monitoring/dashboards"
    assert texts == {path.name: path.read_text() for path in folder.iterdir()}
    assert all(len(as_text([one]).encode()) < 1 << 20 for one in found)


REFUSED = {
    "cpu-demo with GPUs": (DEMO, ["learner.gpus=1"], [], "learner.gpus: must be 0"),
    "gpu without GPUs": (
        "gpu",
        ["learner.gpus=0", "generator.gpus=0", "scorer.gpus=0"],
        [],
        "no role of .* asks for GPUs",
    ),
    "unknown overlay": ("gpus", [], [], "did you mean gpu"),
    "a selector": ("gpu", ["generator.labels={pool: 'in(a, b)'}"], [], "generator.labels: pool='in"),
    "labels of rewards": ("gpu", ["reward.labels={pool: a}"], [], "reward: labels"),
    "no CPUs": (DEMO, ["scorer.cpus=0"], [], "scorer.cpus: must be above 0"),
    "a secret": ("gpu", ["metrics.wandb={api_key: abc}"], [], "must hold no secret"),
    "a folder outside": ("gpu", ["model.path=/models/x"], [], "model.path: must lie in a volume"),
    "no data volume": ("gpu", [], ["storage.data_claim=null"], "data.source: .*storage.data_claim"),
    "a model of unknown size": (
        "gpu",
        ["model.path=someone/unknown"],
        ["model_parameters=null"],
        "model_parameters: must be given",
    ),
    "an unknown setting": ("gpu", [], ["storage.sise=1Gi"], "storage.sise: .*did you mean `size`"),
    "a tag that moves": ("gpu", [], ["image=pgpo-async:latest"], "image: must be an image with a tag"),
    "more GPUs than a machine has": (
        "gpu",
        [],
        ["generator.actors_per_pod=9"],
        "generator.actors_per_pod: 9 actors need 9 GPUs in one pod",
    ),
    "a secret in plain": (
        "gpu",
        [],
        ["environment.HF_TOKEN=abc"],
        "environment.HF_TOKEN: .*secrets.HF_TOKEN=",
    ),
    "ranks on spot nodes": ("gpu", [], ["learner.spot=true"], "learner.spot"),
    "a long name": ("gpu", [], [f"name={'a' * 48}"], "name: must be .* 47"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_run_is_refused_by_its_field(what):
    overlay, overrides, sets, words = REFUSED[what]
    with pytest.raises(ConfigError, match=words):
        objects_of(overlay, *overrides, set_=sets)


def test_an_overlay_s_settings_give_way_to_the_user_s():
    run = shipped(DEMO, set_=["storage.size=9Gi"])
    assert run.settings.storage.size == "9Gi"
    assert run.settings.storage.access_mode == DEFAULTS[DEMO]["storage"]["access_mode"]


@given(st.integers(1, 1 << 50))
def test_a_quantity_of_memory_is_never_less_than_asked_and_little_more(num_bytes):
    found = bytes_of(as_memory(num_bytes))
    assert num_bytes <= found <= num_bytes * 1.25 + (1 << 20)
