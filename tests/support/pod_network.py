"""A node for pods: a bridge in a network namespace of its own, and a process whose end ends them all.

Nothing of it is in the host's network, so nothing can collide with it or be left behind. The node's first
process waits for its standard input to end, which it does when the tests' process dies, however that
happens; then the kernel ends every process of the node's and takes the namespaces away.
"""

import ipaddress
import os
import select
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cache

from support.pod_setup import Plug

NODE = """
read -r pid _ < /proc/self/stat  # the host's number for this process: /proc is still the host's
ip link set lo up
ip link add pods type bridge
ip address add {gateway} dev pods
ip link set pods up
echo "$pid"
cat > /dev/null
"""
FETCH = """
import sys, urllib.error, urllib.request
url, timeout_s, *headers = sys.argv[1:]
request = urllib.request.Request(url, headers=dict(zip(headers[::2], headers[1::2])))
try:
    with urllib.request.urlopen(request, timeout=float(timeout_s)) as answer:
        print(answer.status, answer.read().decode(), sep="\\n", end="")
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode(), sep="\\n", end="")
except OSError as error:
    print(0, error, sep="\\n", end="")
"""
TRIAL = (
    "mount -t tmpfs none /mnt && ip link add pods type bridge && ip link add pod0 type veth peer name pod1"
)
START_S = 30
SYSTEM_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@cache
def can_make_pods():
    """Return why no pods can be made on this machine; None where they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "pods need Linux and root"
    needed = ("bash", "ip", "mount", "nsenter", "pivot_root", "setpriv", "umount", "unshare")
    missing = [name for name in needed if shutil.which(name, path=SYSTEM_PATH["PATH"]) is None]
    if missing:
        return f"pods need {', '.join(missing)} (Debian: apt-get install iproute2 util-linux)"
    trial = ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", TRIAL]
    done = subprocess.run(trial, env=SYSTEM_PATH, capture_output=True, text=True, timeout=START_S)
    return None if done.returncode == 0 else f"pods need rights that root lacks here: {done.stderr.strip()}"


def first_line(stream, timeout_s):
    """Return the line that a process says first; "" where it ended before. Raises TimeoutError."""
    if not select.select([stream], [], [], timeout_s)[0]:
        raise TimeoutError(f"nothing was said in {timeout_s:g} s")
    return os.read(stream.fileno(), 100).decode().strip()


class PodNetwork:
    """A node, as a context; `folder` gets what its pods write. A `support.pods.Pod` plugs itself in."""

    def __init__(self, folder, network="10.77.0.0/16"):
        self.folder = folder
        self._network = ipaddress.ip_network(network)
        self._addresses = self._network.hosts()
        self._gateway = str(next(self._addresses))
        self._pods = []

    def __enter__(self):
        script = NODE.format(gateway=f"{self._gateway}/{self._network.prefixlen}")
        self._node = subprocess.Popen(
            ["unshare", "--net", "--pid", "--fork", "--kill-child", "bash", "-euc", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=SYSTEM_PATH,
        )  # fmt: skip
        self.pid = int(first_line(self._node.stdout, START_S))
        return self

    def __exit__(self, *_error):
        with suppress(BrokenPipeError):
            self._node.stdin.close()
        try:
            self._node.wait(timeout=START_S)
        except subprocess.TimeoutExpired:
            self._node.kill()
            self._node.wait(timeout=START_S)
        self._node.stdout.close()
        for pod in self._pods:
            pod.forget()

    def enter(self, *kinds):
        """Return the command prefix that runs what follows in the node's namespaces ("net", "pid")."""
        return ["nsenter", *(f"--{kind}=/proc/{self.pid}/ns/{kind}" for kind in kinds), "--"]

    def plug_in(self, pod):
        """Return what a new pod is connected by."""
        self._pods.append(pod)
        address = f"{next(self._addresses)}/{self._network.prefixlen}"
        enter = self.enter("net")
        return Plug(link=f"pod{len(self._pods)}", address=address, gateway=self._gateway, enter_node=enter)

    def fetch(self, url, *, headers=None, timeout_s=10):
        """Return (status, text) of a pod's page, as a kubelet or Prometheus asks for it; 0: no answer."""
        flat = [text for pair in (headers or {}).items() for text in pair]
        done = subprocess.run(
            [*self.enter("net"), sys.executable, "-c", FETCH, url, str(timeout_s), *flat],
            env=SYSTEM_PATH, capture_output=True, text=True, timeout=timeout_s + START_S, check=True,
        )  # fmt: skip
        status, _, text = done.stdout.partition("\n")
        return int(status), text

    def unplug(self, plug):
        """Take a pod's cable away: who speaks to it hears nothing any more, not even an end."""
        command = [*self.enter("net"), "ip", "link", "delete", plug.link]
        subprocess.run(command, env=SYSTEM_PATH, check=True, timeout=START_S, capture_output=True)
