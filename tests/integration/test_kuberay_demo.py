"""The overlay `cpu-demo` as a cluster would run it: its pods, its config, its entry point, its claim.

Real Ray nodes in pods of the rendered templates (any user, read-only root, declared mounts only, a network
of their own), real vLLM and DeepSpeed. While it trains, one node of each worker role is lost and comes anew.
"""

import json
import time
from pathlib import Path

import pytest
from support.pods import PodNetwork, can_make_pods
from support.rendered_cluster import RenderedCluster

from pgpo_async.kuberay.render import rendered
from pgpo_async.kuberay.writing import planned

pytestmark = [
    pytest.mark.skipif(can_make_pods() is not None, reason=str(can_make_pods())),
    pytest.mark.timeout(1500),
]

STEPS = 16
# What the run is, made shorter; everything about the cluster is as rendered.
SHORTER = [f"train.num_steps={STEPS}", "train.save_every=4", "evaluation.num_prompts=0"]
LOST_AT = {"generator": 2, "scorer": 6, "learner": 10}
MOST_S = 1200.0


class Ran:
    """One job from its submission to its end."""

    def __init__(self, folder):
        run = planned(Path("configs/local.yaml"), SHORTER, "cpu-demo", None, ())
        self.runs = folder / "runs"
        self.runs.mkdir(mode=0o700)
        with PodNetwork(folder / "node") as network:
            cluster = RenderedCluster(rendered(run, "cpu-demo"), network, folder / "image", self.runs)
            cluster.add_all()
            submitter = cluster.submit()
            try:
                for role, step in LOST_AT.items():
                    self.wait_for_step(step, submitter)
                    if role == "generator":
                        self.seen = self.look(network, cluster)
                    cluster.lose(role)
                    cluster.add(role)
                submitter.wait(timeout_s=MOST_S)
            finally:
                self.said = submitter.said(200)
                print(self.said)
                print(*(pod.said(5) for pod in cluster.pods.values()), sep="\n--\n")
            self.status = cluster.job_status()

    def look(self, network, cluster):
        """Ask what Prometheus and the kubelet ask, from outside the pods."""
        head = cluster.spec["headGroupSpec"]
        ports = {
            port["name"]: port["containerPort"] for port in head["template"]["spec"]["containers"][0]["ports"]
        }
        return {
            "probes": cluster.probe(cluster.head, head),
            **{
                name: network.fetch(f"http://{cluster.head.ip}:{ports[name]}/metrics")
                for name in ("metrics", "pgpo-metrics", "dash-metrics")
            },
        }

    def wait_for_step(self, step, submitter):
        deadline = time.monotonic() + MOST_S
        while len(self.records()) < step:
            assert time.monotonic() < deadline, self.events()[-20:]
            assert submitter.alive, submitter.said(60)
            time.sleep(0.5)

    def records(self):
        return self.lines("metrics.jsonl")

    def events(self):
        return [event.get("text", "") for event in self.lines("events.jsonl")]

    def lines(self, name):
        return [
            json.loads(line) for path in self.runs.glob(f"*/{name}") for line in path.read_text().splitlines()
        ]

    @property
    def folder(self):
        (folder,) = self.runs.iterdir()
        return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return Ran(tmp_path_factory.mktemp("kuberay"))


def test_x(ran):
    assert ran.status[0] == "SUCCEEDED", ran.status
    print(ran.seen, ran.events())
    print(json.loads((ran.folder / "summary.json").read_text()))
