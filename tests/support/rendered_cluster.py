"""The Ray cluster that the KubeRay operator would make of rendered objects, of `support.pods`.

Plays the operator: a head, a pod for each replica of a worker group, the submitter; gives each its template's
rights and volumes, and nothing else. Nodes can be lost, and come anew under another name.
"""

import time

from support.pods import Image, Pod, job_status, operator_env, ray_start, submit

TOKEN = "a-token-of-the-test"
RESTARTS = 5
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


class RenderedCluster:
    """Of a RayJob among `objects`; `runs` is the folder behind its claim."""

    def __init__(self, objects, network, folder, runs):
        self._network, self._image = network, Image(folder)
        (self._job,) = (found for found in objects if found["kind"] == "RayJob")
        self.name = self._job["metadata"]["name"]
        self.spec = self._job["spec"]["rayClusterSpec"]
        assert self.spec["authOptions"] == {"mode": "token"}
        self._service = f"{self.name}-head-svc.{self._job['metadata']['namespace']}.svc.cluster.local"
        self._exists = {
            "claims": {
                found["metadata"]["name"]: runs
                for found in objects
                if found["kind"] == "PersistentVolumeClaim"
            },
            "config_maps": {
                found["metadata"]["name"]: found["data"] for found in objects if found["kind"] == "ConfigMap"
            },
        }
        self._count = 0
        self.pods = {}
        self.head = self._pod("head", self.spec["headGroupSpec"])
        self.head.start(ray_start(self.spec["headGroupSpec"]))
        # As the operator's init container of workers does.
        self.head.run("until ray health-check; do sleep 1; done", timeout_s=120)

    def _pod(self, role, group, template=None):
        self._count += 1
        name = f"{self.name}-{role}-{self._count}"
        head = None if role == "head" else self._service
        env = operator_env(group, pod=name, cluster=self.name, head=head, token=TOKEN)
        hosts = {} if head is None else {self._service: self.head.ip}
        return Pod(
            name, template or group["template"], self._network, image=self._image, env=env, hosts=hosts,
            **self._exists,
        )  # fmt: skip

    def add(self, role):
        """Start a pod of a worker group, as the operator does for one that is missing, until it is ready.

        Ray gives a node's agents 15 s to start, which a busy machine may exceed: a kubelet starts it again.
        """
        (group,) = (found for found in self.spec["workerGroupSpecs"] if found["groupName"] == role)
        for _ in range(RESTARTS):
            pod = self.pods[role] = self._pod(role, group)
            pod.start(ray_start(group, head=self._service))
            while pod.alive:
                if set(self.probe(pod, group).values()) == {200}:
                    return
                time.sleep(0.5)
        raise AssertionError(f"{role} is never ready: {pod.said()}")

    def probe(self, pod, group):
        """Return the status that each probe of a pod's container gets."""
        container = group["template"]["spec"]["containers"][0]
        asked = {name: container[name]["httpGet"] for name in PROBES}
        return {
            name: self._network.fetch(f"http://{pod.ip}:{get['port']}{get['path']}")[0]
            for name, get in asked.items()
        }

    def add_all(self):
        """Start all groups' pods."""
        for group in self.spec["workerGroupSpecs"]:
            for _ in range(group["replicas"]):
                self.add(group["groupName"])

    def lose(self, role):
        """Take a node away with all that runs on it, and its network first: nobody is told."""
        self.pods[role].kill(silently=True)

    def submit(self):
        """Start the submitter with the job's entry point; return its pod."""
        template = self._job["spec"]["submitterPodTemplate"]
        submitter = self._pod("submitter", self.spec["headGroupSpec"], template)
        submit(submitter, self._service, self._job["spec"]["entrypoint"])
        return submitter

    def job_status(self):
        """Return (status, message)."""
        return job_status(self.head, "127.0.0.1")
