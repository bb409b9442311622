"""Pods of Kubernetes without Kubernetes or a container engine: what a kubelet would make of a pod template.

A `Pod` is a process in namespaces of its own (processes, network, mounts, host name, IPC): it sees the
image's files (`support.pod_image`), its template's volumes (`support.pod_volumes`) and nothing else of the
host's, as the user and with the rights that the template's security context leaves (`support.pod_spec`), on
the network of a `PodNetwork` (`support.pod_network`). What the KubeRay operator adds is in
`support.pod_operator`.

Not given: limits of CPU and memory, seccomp profiles, probes and restarts (a test probes by
`PodNetwork.fetch`), name resolution but for `hosts`, init and side containers: one container of a template
runs.
"""

import os
import signal
import subprocess
from contextlib import suppress

from support.pod_image import ENVIRONMENT, HEALTH_CHECK, HOME_IN_IMAGE, WORKING_FOLDER, Image
from support.pod_network import START_S, SYSTEM_PATH, PodNetwork, can_make_pods, first_line
from support.pod_operator import job_status, operator_env, ray_start, submit
from support.pod_setup import setup_lines
from support.pod_spec import environment, identity
from support.pod_volumes import mounts

__all__ = [
    "ANY_UID", "ENVIRONMENT", "HEALTH_CHECK", "HOME_IN_IMAGE", "Image", "Pod", "PodNetwork", "can_make_pods",
    "job_status", "operator_env", "ray_start", "submit",
]  # fmt: skip

ANY_UID = 12345
SHELL = ("/bin/bash", "-c", "--")
NAMESPACES = tuple(f"--{kind}" for kind in ("mount", "net", "pid", "uts", "ipc"))


class Pod:
    """One pod of a template (`metadata` and `spec`, as in a Job or a Ray group); `start` brings it up.

    `claims` {name: folder}, `config_maps` and `secrets` {name: {key: text}} are what exists in the
    namespace; `env` wins over the container's own; `hosts` {name: address} stands for services; `container`
    is a name, the first's where None.
    """

    def __init__(
        self, name, template, network, *, image, claims=None, config_maps=None, secrets=None, env=None,
        hosts=None, uid=ANY_UID, container=None,
    ):  # fmt: skip
        spec = template["spec"]
        self._process = self._net = None
        self.name, self._network, self._image = name, network, image
        self._container = next(c for c in spec["containers"] if container in (None, c["name"]))
        self.identity = identity(spec, self._container, uid)
        self._plug = network.plug_in(self)
        self.ip = self._plug.address.partition("/")[0]
        self._folder = network.folder / f"{name}-{self._plug.link}"
        self._folder.mkdir(parents=True)
        self._log = self._folder / "log"
        self._log.touch()
        self._log.chmod(0o666)  # the pod may open /dev/stderr anew
        exists = {"config_maps": config_maps or {}, "secrets": secrets or {}}
        fields = {"metadata.name": name, "metadata.namespace": "default", "status.podIP": self.ip}
        self.env = ENVIRONMENT | {"HOSTNAME": name} | environment(self._container, **exists, fields=fields)
        self.env |= env or {}
        self._hosts = {"localhost": "127.0.0.1", name: self.ip} | (hosts or {})
        self._mounts = mounts(
            spec, self._container, self._folder / "volumes",
            claims=claims or {}, fs_group=self.identity.fs_group, **exists,
        )  # fmt: skip

    def start(self, command=None):
        """Run the pod's first process: a list, a line for the shell, or the container's own where None.

        Its output goes to a log, see `said`. Raises RuntimeError where the pod cannot be made.
        """
        assert self._process is None, f"{self.name} was started before"
        command = command or [*self._container.get("command", ()), *self._container.get("args", ())]
        reading, writing = os.pipe()
        script = self._script(command, writing)
        with os.fdopen(reading, "rb") as ready, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._network.enter("pid"), "unshare", *NAMESPACES, "--fork", "--kill-child",
                 "bash", "-eu", script],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=SYSTEM_PATH, pass_fds=[writing],
                start_new_session=True,
            )  # fmt: skip
            os.close(writing)
            number = first_line(ready, START_S)
        if not number:
            raise RuntimeError(f"the pod {self.name} could not be made: {self.said()}")
        self._pid = int(number)
        # As the pause container does: the address goes on to refuse connections after the first process.
        self._net = os.open(f"/proc/{self._pid}/ns/net", os.O_RDONLY)

    def _script(self, command, ready):
        root, script = self._folder / "root", self._folder / "setup.sh"
        root.mkdir()
        script.touch(mode=0o600)
        lines = setup_lines(
            self.name, root, plug=self._plug, image=self._image, mounts=self._mounts, ready=ready,
            hosts="".join(f"{address} {name}\n" for name, address in self._hosts.items()),
            read_only=self.identity.root_is_read_only,
            command=self._as_user(command, "-i", *(f"{key}={value}" for key, value in self.env.items())),
        )  # fmt: skip
        script.write_text("\n".join(lines) + "\n")
        return str(script)

    def _as_user(self, command, *environment):
        folder = self._container.get("workingDir", WORKING_FOLDER)
        inside = [*SHELL, command] if isinstance(command, str) else command
        return ["/usr/bin/env", f"--chdir={folder}", *environment, *self.identity.setpriv(), *inside]

    def run(self, command, *, timeout_s=60, check=True):
        """Run a command in the pod and wait, as `kubectl exec` does; return it completed, with its texts.

        Raises AssertionError where it fails (unless `check` is false) or takes too long, with what it said.
        """
        assert self.alive, f"{self.name} is not running: {self.said()}"
        process = subprocess.Popen(
            ["/usr/bin/nsenter", f"--target={self._pid}", *NAMESPACES, "--", *self._as_user(command)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env,
            start_new_session=True,
        )  # fmt: skip
        try:
            out, error = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, error = process.communicate()
            raise AssertionError(f"{command} in {self.name} took over {timeout_s} s: {out}{error}") from None
        done = subprocess.CompletedProcess(command, process.returncode, out, error)
        assert not check or done.returncode == 0, f"{command} in {self.name}: {done.returncode}: {out}{error}"
        return done

    @property
    def alive(self):
        """Whether the pod's first process runs."""
        return self._process is not None and self._process.poll() is None

    def wait(self, timeout_s):
        """Return the exit status of the pod's first process. Raises AssertionError where it runs on."""
        try:
            return self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout_s} s: {self.said()}") from None

    def said(self, lines=40):
        """Return the last lines of the pod's log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self, *, silently=False):
        """End all processes at once by SIGKILL, as of a pod that is out of memory.

        `silently` takes its network away first, as of a node that lost its power: nobody is told.
        """
        if silently:
            self._network.unplug(self._plug)
        if self.alive:
            os.kill(self._pid, signal.SIGKILL)
        self.wait(START_S)

    def delete(self, grace_s=30):
        """End the pod as Kubernetes does: SIGTERM, SIGKILL after the grace period; its address goes."""
        if self.alive:
            os.kill(self._pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=grace_s)
        self.kill()
        self.forget()

    def forget(self):
        """Collect what is left of a pod that has ended or whose node has."""
        if self._process is not None:
            self.wait(START_S)
        if self._net is not None:
            os.close(self._net)
            self._net = None
