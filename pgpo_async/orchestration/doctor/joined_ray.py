"""Ray: whether it can be imported, its authentication, and the cluster that `ray.address` names.

Owns the questions to a cluster: does it answer, is it of the same versions, has it what the plan asks for.
Starts no Ray. In a process of its own: connecting to what does not answer takes minutes.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.lines import Line, error, in_words, ok, warning
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.placement import NodeOffer, plan_placement

_CONNECT_S = 5.0
_CLIENT = "ray://"
_COPY_TOKEN = "copy the cluster's token (`ray get-auth-token` on its head node) into ~/.ray/auth_token here"


def check_ray(config: RunConfig, machine: Machine) -> Iterator[Line]:
    """Yield lines on Ray, authentication, and the cluster if one is to be joined."""
    yield authentication(config, machine)
    try:
        import ray
    except Exception as cause:
        yield error("ray", f"cannot be imported: {in_words(cause)}", "run `uv pip install --reinstall ray`")
        return
    if config.ray.address is None:
        yield ok("ray", f"{ray.__version__} is imported; the run starts one here")
        return
    yield from _joined(config, config.ray.address)


def authentication(config: RunConfig, machine: Machine) -> Line:
    """Token authentication is Ray's default where it is started, but not where a cluster is joined."""
    mode = machine.environ.get("RAY_AUTH_MODE", "").lower()
    where, missing = _token(machine)
    if missing and mode != "disabled":
        return error("authentication", missing, "put the token there, or run `unset RAY_AUTH_TOKEN_PATH`")
    if config.ray.address is not None:
        return _to_join(mode, where)
    if mode == "disabled":
        whoever = "the network reaches it" if config.ray.listen == "all" else "has an account on this machine"
        return warning(
            "authentication",
            f"RAY_AUTH_MODE=disabled: whoever {whoever} can run code in this run",
            "run `unset RAY_AUTH_MODE`: Ray then makes a token by itself",
        )
    if where:
        return ok("authentication", f"by token, from {where}")
    return ok("authentication", f"by token: Ray will write one to {machine.home}/.ray/auth_token")


def _to_join(mode: str, where: str) -> Line:
    if mode != "token":
        return ok(
            "authentication", "no token is sent (RAY_AUTH_MODE is not token): good if none is asked for"
        )
    if where:
        return ok("authentication", f"by token, from {where}")
    return error("authentication", "RAY_AUTH_MODE=token, but there is no token", _COPY_TOKEN)


def _token(machine: Machine) -> tuple[str, str]:
    """Where Ray finds a token, or else what is wrong with where it was told to look."""
    if machine.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN", ""
    path = machine.environ.get("RAY_AUTH_TOKEN_PATH")
    if path:
        return (path, "") if _has_text(Path(path)) else ("", f"RAY_AUTH_TOKEN_PATH: no token in {path}")
    default = machine.home / ".ray" / "auth_token"
    return (str(default), "") if _has_text(default) else ("", "")


def _has_text(path: Path) -> bool:
    try:
        return bool(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return False


def _joined(config: RunConfig, address: str) -> Iterator[Line]:
    if (problem := _unanswered(address)) is not None:
        yield error("ray", problem, "start it (`ray start --head`), or set ray.address to one that runs")
        return
    import ray

    from pgpo_async.orchestration.nodes import nodes_there

    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="doctor")
    except Exception as cause:
        yield error("ray", f"{address} cannot be joined: {in_words(cause)}", _advice(str(cause)))
        return
    try:
        nodes, free = nodes_there(), ray.available_resources()
    finally:
        ray.shutdown()
    # Ray refuses to join a cluster of another Ray or another Python, to the last digit.
    yield ok("ray", f"{address} answers; it runs Ray {ray.__version__} and this Python's version, as it must")
    yield from cluster_lines(config, nodes, free)


def _unanswered(address: str) -> str | None:
    """Say what is wrong with an address whose port nobody listens on."""
    if address.startswith(_CLIENT) or ":" not in address:
        return None
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return f"ray.address must be HOST:PORT or auto, got {address!r}"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as cause:
        return f"{address} does not answer: {cause}"
    return None


def _advice(text: str) -> str:
    if "Version mismatch" in text:
        return "install the cluster's versions of Ray and Python here, or ours there: they must be equal"
    if "uthentication" in text:
        return _COPY_TOKEN
    if "Failed to connect" in text:
        # Something listens there: Ray tells a wrong token from no answer at all in its log alone.
        return (
            f"if it asks for a token: `export RAY_AUTH_MODE=token` and {_COPY_TOKEN}; else check the address"
        )
    return "set ray.address to HOST:PORT of a Ray that runs (`ray start --head` says its own)"


def cluster_lines(config: RunConfig, nodes: Sequence[NodeOffer], free: Mapping[str, float]) -> Iterator[Line]:
    """Yield what the plan lacks in these nodes, or what of it others are using."""
    plan = plan_placement(config)
    cpus, gpus = (sum(node.resources.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    there = f"{len(nodes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs"
    lacking = plan.lacking(nodes)
    for line in lacking:
        yield warning(
            "cluster",
            f"{line} ({there})",
            f"launch waits {config.ray.nodes_timeout_s:.0f} s (ray.nodes_timeout_s) for the cluster to grow: "
            "start nodes, or ask for less",
        )
    if lacking:
        return
    asked = {name for role in plan.roles for name in role.bundle}
    used = [
        f"{plan.total(name):g} {name} asked for, {free.get(name, 0.0):g} free"
        for name in sorted(asked)
        if plan.total(name) > free.get(name, 0.0) + 1e-6
    ]
    if used:
        yield warning("cluster", f"{there}; others use it: {'; '.join(used)}", "wait for them: `ray status`")
    else:
        yield ok("cluster", f"{there}: the plan fits")
