"""The script that becomes a pod's first process: builds its network and root, then gives up all rights.

Run as root in the pod's new namespaces. Its lines are shell, since each is one of the system's own commands.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from support.pod_image import ENVIRONMENT
from support.pod_volumes import Mount

DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
DEFAULT_SHM = Mount(path="/dev/shm", tmpfs_options="mode=1777,size=64m")
"""What a container engine gives where the template has nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plug:
    """What connects a pod: the bridge's link, the pod's address, and how to enter the node's namespace."""

    link: str
    address: str
    gateway: str
    enter_node: list[str]


def setup_lines(name, root, *, plug, image, hosts, mounts, read_only, ready, command):
    """Yield the script's lines.

    `root` is an empty folder, `ready` the descriptor that gets the process's number once all stands, and
    `command` what the script turns into.
    """
    yield "read -r host_pid _ < /proc/self/stat  # the host's number, while /proc is the host's"
    yield "ulimit -n 1048576 2>/dev/null || true  # what container engines allow"
    yield from _network(plug)
    yield f"hostname {shlex.quote(name)}"
    yield f"mount -t tmpfs -o mode=755,size=64m pod {shlex.quote(str(root))}"
    yield f"cd {shlex.quote(str(root))}"
    yield "mkdir -p .old dev home proc run sys tmp var/tmp && chmod 1777 tmp var/tmp"
    yield from _image(image)
    yield f"printf %s {shlex.quote(hosts)} > etc/hosts"
    yield from _system()
    declared = {mount.path for mount in mounts}
    for mount in [*(() if DEFAULT_SHM.path in declared else (DEFAULT_SHM,)), *mounts]:
        yield from _mount(mount)
    yield "pivot_root . .old && cd / && umount -l /.old && rmdir /.old"
    if read_only:
        yield "mount -o remount,bind,ro /"
    yield f'echo "$host_pid" >&{ready}; exec {ready}>&-'
    yield f"exec {shlex.join(command)}"


def _network(plug):
    # "netns 1" is this very process: numbers are those of its own namespace.
    cable = f"{plug.link} master pods up type veth peer name eth0 netns 1"
    yield f"{shlex.join(plug.enter_node)} ip link add {cable}"
    yield "ip link set lo up"
    yield f"ip address add {plug.address} dev eth0"
    yield "ip link set eth0 up"
    yield f"ip route add default via {plug.gateway}"


def _image(image):
    for target, path in image.links():
        yield f"ln -s {shlex.quote(target)} .{shlex.quote(path)}"
    for source, path in image.binds():
        yield from _mount(Mount(path=path, source=source, read_only=True))
    yield f"install --directory --mode=0770 --owner=1000 --group=0 .{ENVIRONMENT['HOME']}"
    yield f"cp -r --no-dereference {shlex.quote(str(image.etc))} etc  # volumes are mounted below it"


def _system():
    yield "mount -t proc -o nosuid,nodev,noexec proc proc"
    yield "mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys"
    yield "mount -t tmpfs -o mode=755,size=1m dev dev"
    for device in DEVICES:
        yield f"touch dev/{device} && mount --bind /dev/{device} dev/{device}"
    yield "ln -s /proc/self/fd dev/fd"
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        yield f"ln -s /proc/self/fd/{number} dev/{stream}"


def _mount(mount):
    """Yield lines that mount something below the current folder, which is the pod's root."""
    target = f".{shlex.quote(mount.path)}"
    read_only = ",ro" if mount.read_only else ""
    if mount.source is None:
        yield f"mkdir -p {target}"
        yield f"mount -t tmpfs -o {mount.tmpfs_options}{read_only},nosuid,nodev none {target}"
        return
    source = Path(mount.source)
    parent = shlex.quote(str(Path(mount.path).parent))
    place = f"mkdir -p {target}" if source.is_dir() else f"mkdir -p .{parent} && touch {target}"
    yield f"[ -e {target} ] || {{ {place}; }}  # the image may have it"
    yield f"mount --bind {shlex.quote(str(source))} {target}"
    yield f"mount -o remount,bind{read_only},nosuid,nodev {target}"
