"""The container's entry points in pods of the rendered templates, without a container engine.

Any user, no rights, a read-only root: only the declared places can be written. `test_kuberay_demo` trains in
them.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.pod_image import HEALTH_CHECK
from support.pods import ANY_UID, Image, Pod, PodNetwork, can_make_pods

from pgpo_async.kuberay.ray_job import ENTRYPOINT
from pgpo_async.kuberay.render import rendered
from pgpo_async.kuberay.writing import planned

pytestmark = pytest.mark.skipif(can_make_pods() is not None, reason=str(can_make_pods()))

PROOF = """
import getpass, json, os, pathlib, tempfile

SETS = ("CapAmb", "CapBnd", "CapEff", "CapInh", "CapPrm")
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
shared = os.statvfs("/dev/shm")
writable = []
for place in {line.split()[4] for line in open("/proc/self/mountinfo")} | {"/var/tmp", "/etc", "/root"}:
    try:
        with tempfile.TemporaryFile(dir=place):
            writable.append(place)
    except OSError:
        pass
print(json.dumps({
    "uid": os.getuid(), "groups": os.getgroups(), "user": getpass.getuser(),
    "rights": sum(int(status[key], 16) for key in SETS),
    "no_new_privileges": int(status["NoNewPrivs"]),
    "home": str(pathlib.Path.home()), "temporary": tempfile.gettempdir(), "writable": sorted(writable),
    "environment": sorted(os.environ), "shared_memory": shared.f_blocks * shared.f_frsize,
}))
"""
SHARED_BYTES = {"head": 282 << 20, "generator": 292 << 20}


class Seen:
    """What a head and a generator are like where no Ray runs yet."""

    def __init__(self, folder):
        objects = rendered(planned(Path("configs/local.yaml"), (), "cpu-demo", None, ()), "cpu-demo")
        (job,) = (found for found in objects if found["kind"] == "RayJob")
        cluster = job["spec"]["rayClusterSpec"]
        groups = {"head": cluster["headGroupSpec"], "generator": cluster["workerGroupSpecs"][0]}
        (folder / "runs").mkdir(mode=0o700)
        exists = {
            "claims": {"pgpo-async-runs": folder / "runs"},
            "config_maps": {
                one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "ConfigMap"
            },
        }
        image = Image(folder / "image")
        with PodNetwork(folder / "node") as network:
            pods = {}
            for name, group in groups.items():
                pods[name] = Pod(name, group["template"], network, image=image, **exists)
                pods[name].start(["sleep", "600"])
            self.proof = {
                name: SimpleNamespace(**json.loads(pod.run(["python", "-c", PROOF]).stdout))
                for name, pod in pods.items()
            }
            self.version = pods["head"].run("pgpo-async --version").stdout
            self.health = pods["head"].run(HEALTH_CHECK)
            self.plan = pods["head"].run(f"{ENTRYPOINT} --dry-run")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return Seen(tmp_path_factory.mktemp("pods"))


@pytest.mark.parametrize("name", ["head", "generator"])
def test_a_process_is_any_user_without_rights_and_writes_to_the_declared_places_only(seen, name):
    found = seen.proof[name]
    assert (found.uid, found.user) == (ANY_UID, "pgpo")
    assert 1000 in found.groups
    assert (found.rights, found.no_new_privileges) == (0, 1)
    assert (found.home, found.temporary) == ("/home/pgpo", "/tmp")
    assert found.writable == ["/dev/shm", "/home/pgpo", "/runs", "/tmp"]
    assert found.shared_memory == SHARED_BYTES[name]
    assert "PYTEST_CURRENT_TEST" not in found.environment


def test_the_entry_point_reads_its_config_in_a_pod(seen):
    assert seen.version.startswith("pgpo-async ")
    assert "generator" in seen.plan.stdout


def test_the_images_health_check_asks_the_command_line_where_no_ray_runs(seen):
    assert seen.health.stdout == seen.version


def test_a_pod_gets_no_more_protection_than_its_template_asks_for_and_leaves_nothing(tmp_path):
    plain = {"containers": [{"name": "plain", "command": ["sleep", "1000"]}]}
    with PodNetwork(tmp_path) as network:
        pod = Pod("plain", {"spec": plain}, network, image=Image(tmp_path / "image"), uid=0)
        pod.start()
        pod.run("touch /anywhere")
        status = pod.run("cat /proc/self/status; ls /").stdout
        assert "CapBnd:\t0000000000000000" not in status
        assert "NoNewPrivs:\t0" in status
        closed = {"spec": plain | {"securityContext": {"runAsNonRoot": True}}}
        with pytest.raises(ValueError, match="runAsNonRoot"):
            Pod("root", closed, network, image=None, uid=0)
    assert not pod.alive
