"""The overlay `cpu-demo` as a cluster would run it: its pods, its config, its entry point, its claim.

Real Ray nodes in pods of the rendered templates (any user, read-only root, declared mounts only, a network
of their own), real vLLM and DeepSpeed. While it trains, a node of each worker role is lost and another comes.
"""

import json
import time
from pathlib import Path

import pytest
from support.pod_image import HEALTH_CHECK
from support.pods import ANY_UID, PodNetwork, can_make_pods
from support.rendered_cluster import RenderedCluster

from pgpo_async.kuberay.render import rendered
from pgpo_async.kuberay.writing import planned

pytestmark = [
    pytest.mark.skipif(can_make_pods() is not None, reason=str(can_make_pods())),
    pytest.mark.timeout(1500),
]

STEPS = 8
# The run is shorter, and Ray notices within seconds that a node is silent; all else is as shipped.
OVERRIDES = [f"train.num_steps={STEPS}", "train.save_every=2", "evaluation.num_prompts=0"]
SETTINGS = [
    "environment.RAY_health_check_period_ms='1000'",
    "environment.RAY_health_check_timeout_ms='2000'",
    "environment.RAY_health_check_failure_threshold='3'",
]
LOST_AFTER = {2: ("generator", "scorer"), 5: ("learner",)}
"""Steps, and the roles that lose a node then."""
MOST_S = 1200.0
CLASSES = ("Generator", "Scorer", "LearnerWorker", "RewardWorker", "QueueActor", "StoreActor")
TITLES = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -o 'ray::[A-Za-z]*' | sort -u"


class Ran:
    """One job from its submission to its end."""

    def __init__(self, folder):
        run = planned(Path("configs/local.yaml"), OVERRIDES, "cpu-demo", None, SETTINGS)
        self.runs = folder / "runs"
        self.runs.mkdir(mode=0o700)
        with PodNetwork(folder / "node") as network:
            cluster = RenderedCluster(rendered(run, "cpu-demo"), network, folder / "image", self.runs)
            cluster.add_all()
            submitter = cluster.submit()
            for step, roles in LOST_AFTER.items():
                self.wait_for_step(step, submitter)
                if "generator" in roles:
                    self.look(network, cluster)
                for role in roles:
                    cluster.lose(role)
                for role in roles:
                    cluster.add(role)
            submitter.wait(timeout_s=MOST_S)
            self.said = submitter.said(200)
            self.status = cluster.job_status()

    def look(self, network, cluster):
        """What runs where, and what the kubelet and Prometheus get."""
        pods = {"head": cluster.head, **cluster.pods}
        titles = {role: pod.run(TITLES).stdout for role, pod in pods.items()}
        self.places = {
            name: {role for role, told in titles.items() if f"ray::{name}" in told.split()}
            for name in CLASSES
        }
        head = cluster.spec["headGroupSpec"]
        self.probes = cluster.probe(cluster.head, head)
        (container,) = head["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        self.metrics = {
            name: network.fetch(f"http://{cluster.head.ip}:{ports[name]}/metrics")
            for name in ("metrics", "pgpo-metrics")
        }
        self.health = cluster.head.run(HEALTH_CHECK)
        self.dashboard = network.fetch(f"http://{cluster.head.ip}:{ports['dashboard']}/api/jobs/")

    def wait_for_step(self, step, submitter):
        deadline = time.monotonic() + MOST_S
        while len(self.lines("metrics.jsonl")) < step:
            assert time.monotonic() < deadline, submitter.said(60)
            assert submitter.alive, submitter.said(60)
            time.sleep(0.5)

    def lines(self, name):
        paths = self.runs.glob(f"*/{name}")
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

    @property
    def folder(self):
        (folder,) = self.runs.iterdir()
        return folder

    @property
    def summary(self):
        return json.loads((self.folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return Ran(tmp_path_factory.mktemp("kuberay"))


def test_the_job_trains_to_its_end_though_a_node_of_each_role_was_lost(ran):
    assert ran.status[0] == "SUCCEEDED", (ran.status, ran.said)
    assert (ran.summary["status"], ran.summary["steps"]) == ("completed", STEPS), ran.said
    events = [event["event"] for event in ran.lines("events.jsonl")]
    lost = [role for roles in LOST_AFTER.values() for role in roles]
    for role in lost:
        assert any(role in event and "failed" in event for event in events), events
    assert ran.summary["restarts"] >= len(lost)


def test_no_group_is_trained_twice_and_all_prompts_are_accounted_for(ran):
    trained = [group for record in ran.lines("metrics.jsonl") for group in record["groups"]]
    assert len(trained) == len(set(trained)) == STEPS * 32
    books = ran.summary["accounting"]
    ends = sum(books[end] for end in ("trained", "filtered", "stale", "quarantined", "pending"))
    assert books["drawn"] == ends, books
    assert ran.summary["max_lag_seen"] <= ran.summary["max_lag_allowed"]


def test_each_role_runs_on_its_group_and_the_head_has_no_work(ran):
    assert ran.places == {
        "Generator": {"generator"},
        "Scorer": {"scorer"},
        "LearnerWorker": {"learner"},
        "RewardWorker": {"learner"},
        "QueueActor": {"head"},
        "StoreActor": {"head"},
    }


def test_probes_and_metrics_answer_and_the_dashboard_asks_for_the_token(ran):
    assert set(ran.probes.values()) == {200}
    assert ran.metrics["metrics"][0] == 200
    assert ran.metrics["pgpo-metrics"][0] == 200
    assert "pgpo_steps_total" in ran.metrics["pgpo-metrics"][1]
    assert ran.dashboard[0] == 401
    assert ran.health.stdout == ""  # the image's own asks Ray, where it runs


def test_what_the_run_leaves_lies_in_its_claim_and_is_the_arbitrary_user_s(ran):
    assert {path.stat().st_uid for path in ran.folder.rglob("*")} == {ANY_UID}
    assert (ran.folder / "model" / "config.json").is_file()
