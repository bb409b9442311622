"""The container's entry points in pods, without a container engine: any user, only declared places writable.

A head and a worker of small templates, Ray between them with a token, a job by the submitter; then the
worker is killed.
"""

import json
from types import SimpleNamespace

import pytest
from support.pods import (
    ANY_UID,
    HEALTH_CHECK,
    Image,
    Pod,
    PodNetwork,
    can_make_pods,
    job_status,
    operator_env,
    ray_start,
    submit,
)

pytestmark = pytest.mark.skipif(can_make_pods() is not None, reason=str(can_make_pods()))

TOKEN, SERVICE = "a-token-of-the-test", "small-head-svc.default.svc.cluster.local"
CONFIG = """
name: small
output_dir: /runs
model: {path: "builtin:tiny-vlm", dtype: float32}
data: {source: "builtin:shapes"}
ray: {address: auto}
"""
JOB = """
import getpass, json, os, pathlib, tempfile
import ray

SETS = ("CapAmb", "CapBnd", "CapEff", "CapInh", "CapPrm")

def found_here():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    shared = os.statvfs("/dev/shm")
    writable = []
    for place in {line.split()[4] for line in open("/proc/self/mountinfo")} | {"/var/tmp", "/etc", "/root"}:
        try:
            with tempfile.TemporaryFile(dir=place):
                writable.append(place)
        except OSError:
            pass
    return {
        "uid": os.getuid(), "groups": os.getgroups(), "user": getpass.getuser(), "host": os.uname().nodename,
        "rights": {key: int(status[key], 16) for key in SETS},
        "no_new_privileges": status["NoNewPrivs"].strip() == "1",
        "home": str(pathlib.Path.home()), "temporary": tempfile.gettempdir(), "writable": sorted(writable),
        "environment": sorted(os.environ), "shared_memory": shared.f_blocks * shared.f_frsize,
    }

ray.init(address="auto", log_to_driver=False)
on_worker = ray.remote(num_cpus=1, label_selector={"pgpo-role": "generator"})(found_here).remote()
print("FOUND", json.dumps({"driver": found_here(), "task": ray.get(on_worker, timeout=60)}))
"""
WATCH = """
import sys, time
import ray
ray.init(address="auto", log_to_driver=False)
nodes = lambda: sum(node["Alive"] for node in ray.nodes())
deadline_s = time.monotonic() + float(sys.argv[2])
while nodes() != int(sys.argv[1]) and time.monotonic() < deadline_s:
    time.sleep(0.1)
print("NODES", nodes(), [node["Labels"].get("pgpo-role") for node in ray.nodes() if node["Alive"]])
"""


# Less to start, and a lost node is noticed in two seconds rather than a quarter of a minute.
LEAN = {"object-store-memory": "80000000", "include-log-monitor": "false", "no-monitor": "true"}
WATCHFUL = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}


def template():
    hardened = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
    places = {"runs": "/runs", "tmp": "/tmp", "shm": "/dev/shm", "home": "/home/pgpo"}
    container = {
        "name": "ray",
        "image": "pgpo-async:test",
        "env": [{"name": name, "value": value} for name, value in WATCHFUL.items()],
        "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
        "securityContext": hardened,
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/pgpo-async", "readOnly": True},
            *({"name": name, "mountPath": path} for name, path in places.items()),
        ],
    }
    volumes = [
        {"name": "config", "configMap": {"name": "small"}},
        {"name": "runs", "persistentVolumeClaim": {"claimName": "runs"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "home", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}},
    ]
    return {
        "spec": {"securityContext": {"fsGroup": 1000}, "containers": [container], "volumes": volumes},
    }


HEAD = {"resources": {"CPU": "0"}, "rayStartParams": LEAN, "template": template()}
WORKER = HEAD | {
    "groupName": "generators",
    "rayStartParams": {key: value for key, value in LEAN.items() if key != "no-monitor"},
    "resources": {"CPU": "2", "slot": "1"},
    "labels": {"pgpo-role": "generator"},
}


class Ran:
    """All that was seen, in the order in which it happened."""

    def __init__(self, folder):
        (folder / "runs").mkdir(mode=0o700)
        exists = {
            "claims": {"runs": folder / "runs"},
            "config_maps": {"small": {"config.yaml": CONFIG, "job.py": JOB, "watch.py": WATCH}},
        }
        image = Image(folder / "image")
        with PodNetwork(folder / "node") as network:

            def pod(name, group, head=None, hosts=None):
                env = operator_env(group, pod=name, cluster="small", head=head, token=TOKEN)
                return Pod(name, group["template"], network, image=image, env=env, hosts=hosts, **exists)

            head = pod("small-head", HEAD)
            services = {SERVICE: head.ip}
            worker = pod("small-generators", WORKER, SERVICE, services)
            submitter = pod("small-submitter", WORKER, SERVICE, services)
            no_ray = pod("small-idle", HEAD)
            head.start(ray_start(HEAD))
            worker.start(ray_start(WORKER, head=SERVICE))
            no_ray.start(["sleep", "600"])
            self.version = no_ray.run("pgpo-async --version").stdout
            self.healthy_without_ray = no_ray.run(HEALTH_CHECK, check=False)
            self.plan = no_ray.run("pgpo-async launch /etc/pgpo-async/config.yaml --dry-run", check=False)
            self.both = self.nodes(head, 2)
            agents = [f"http://{pod.ip}:52365/api/healthz" for pod in (head, worker)]
            self.healthy_with_ray = head.run(HEALTH_CHECK, check=False)
            self.probes = [network.fetch(url) for url in agents]
            self.metrics = [network.fetch(f"http://{pod.ip}:8080/metrics")[0] for pod in (head, worker)]
            dashboard = f"http://{head.ip}:8265/api/jobs/"
            self.without_token = network.fetch(dashboard)
            self.with_token = network.fetch(dashboard, headers={"Authorization": f"Bearer {TOKEN}"})
            submit(submitter, SERVICE, "python /etc/pgpo-async/job.py")
            submitter.wait(timeout_s=120)
            self.followed = submitter.said()
            self.job = job_status(head, "127.0.0.1")
            worker.kill()
            self.left = self.nodes(head, 1)
            self.worker_answers = network.fetch(agents[1], timeout_s=2)

    @staticmethod
    def nodes(head, count):
        watch = head.run(["python", "/etc/pgpo-async/watch.py", str(count), "60"], timeout_s=120).stdout
        _, number, roles = watch[watch.index("NODES") :].split(maxsplit=2)
        return int(number), roles

    @property
    def proof(self):
        line = next(line for line in self.followed.splitlines() if "FOUND" in line)
        return json.loads(line.partition("FOUND ")[2], object_hook=lambda found: SimpleNamespace(**found))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return Ran(tmp_path_factory.mktemp("pods"))


def test_a_worker_joins_over_the_network_and_brings_its_labels(ran):
    assert ran.both[0] == 2, ran.both
    assert "generator" in ran.both[1]


def test_probes_and_metrics_answer_without_a_token_and_the_dashboard_refuses(ran):
    assert [status for status, _ in ran.probes] == [200, 200], ran.probes
    assert ran.metrics == [200, 200]
    assert ran.without_token[0] == 401, ran.without_token
    assert ran.with_token[0] == 200, ran.with_token


def test_the_images_health_check_asks_ray_where_it_runs_and_the_command_line_elsewhere(ran):
    assert (ran.healthy_without_ray.returncode, ran.healthy_with_ray.returncode) == (0, 0), (
        ran.healthy_with_ray
    )
    assert ran.healthy_without_ray.stdout == ran.version
    assert ran.healthy_with_ray.stdout == ""


def test_the_command_line_answers_in_a_pod(ran):
    assert ran.version.startswith("pgpo-async ")
    assert ran.plan.returncode == 0, ran.plan


def test_a_submitted_job_runs_on_the_head_and_its_task_where_the_labels_say(ran):
    assert ran.job[0] == "SUCCEEDED", (ran.job, ran.followed)
    assert (ran.proof.driver.host, ran.proof.task.host) == ("small-head", "small-generators")


@pytest.mark.parametrize("where", ["driver", "task"])
def test_a_process_is_any_user_without_rights_and_writes_to_the_declared_places_only(ran, where):
    found = getattr(ran.proof, where)
    assert (found.uid, found.user) == (ANY_UID, "pgpo")
    assert 1000 in found.groups
    assert set(vars(found.rights).values()) == {0}
    assert found.no_new_privileges
    assert (found.home, found.temporary) == ("/home/pgpo", "/tmp")
    assert found.writable == ["/dev/shm", "/home/pgpo", "/runs", "/tmp"]
    assert found.shared_memory == 256 << 20
    assert "PYTEST_CURRENT_TEST" not in found.environment


def test_a_pod_gets_no_more_protection_than_its_template_asks_for_and_leaves_nothing(tmp_path):
    plain = {"containers": [{"name": "plain", "command": ["sleep", "1000"]}]}
    with PodNetwork(tmp_path) as network:
        pod = Pod("plain", {"spec": plain}, network, image=Image(tmp_path / "image"), uid=0)
        pod.start()
        pod.run("touch /anywhere")
        status = pod.run("cat /proc/self/status; ls /").stdout
        assert "CapBnd:\t0000000000000000" not in status
        assert "NoNewPrivs:\t0" in status
        with pytest.raises(ValueError, match="runAsNonRoot"):
            Pod(
                "root",
                {"spec": plain | {"securityContext": {"runAsNonRoot": True}}},
                network,
                image=None,
                uid=0,
            )
    assert not pod.alive


def test_ray_notices_that_a_worker_was_killed(ran):
    assert ran.left[0] == 1, ran.left
    assert ran.worker_answers[0] == 0
