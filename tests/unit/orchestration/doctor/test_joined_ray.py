import socket
from dataclasses import replace

import pytest

from pgpo_async.orchestration.doctor.joined_ray import authentication, check_ray, cluster_lines
from pgpo_async.orchestration.placement import NodeOffer

JOINS = "ray.address=192.0.2.1:6379"


@pytest.mark.parametrize(
    ("overrides", "environ", "has_file", "level", "text"),
    [
        ((), {}, False, "ok", "will write one"),
        ((), {}, True, "ok", "auth_token"),
        ((), {"RAY_AUTH_TOKEN": "secret"}, False, "ok", "RAY_AUTH_TOKEN"),
        ((), {"RAY_AUTH_MODE": "disabled"}, True, "warning", "account on this machine"),
        (("ray.listen=all",), {"RAY_AUTH_MODE": "disabled"}, True, "warning", "the network"),
        ((), {"RAY_AUTH_TOKEN_PATH": "/no/such/file"}, True, "error", "/no/such/file"),
        ((JOINS,), {"RAY_AUTH_MODE": "token"}, False, "error", "no token"),
        ((JOINS,), {"RAY_AUTH_MODE": "token"}, True, "ok", "auth_token"),
        # Ray sends none then, though there is one.
        ((JOINS,), {}, True, "ok", "no token is sent"),
    ],
)
def test_authentication_is_told_as_ray_will_do_it(config, machine, overrides, environ, has_file, level, text):
    if has_file:
        (machine.home / ".ray").mkdir()
        (machine.home / ".ray" / "auth_token").write_text("t0ken")
    line = authentication(config(*overrides), replace(machine, environ=environ))
    assert line.level == level
    assert text in line.found
    assert "secret" not in line.found


def test_an_address_that_nobody_listens_on_is_told_without_waiting_for_ray(config, machine):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = {line.name: line for line in check_ray(config(f"ray.address=127.0.0.1:{port}"), machine)}
    assert lines["ray"].level == "error"
    assert f"127.0.0.1:{port} does not answer" in lines["ray"].found


def test_a_cluster_that_lacks_something_may_grow_and_one_that_is_busy_may_get_free(config):
    run = config("ray.address=auto", "generator.gpus=1")
    (line,) = cluster_lines(run, [NodeOffer(resources={"CPU": 8.0})], {})
    assert line.level == "warning"
    assert "asks for 1 GPUs" in line.found
    assert "600 s (ray.nodes_timeout_s)" in line.advice
    nodes = [NodeOffer(resources={"CPU": 8.0, "GPU": 1.0})]
    (line,) = cluster_lines(run, nodes, {"CPU": 8.0})
    assert (line.level, "1 GPU asked for, 0 free" in line.found) == ("warning", True)
    (line,) = cluster_lines(run, nodes, {"CPU": 8.0, "GPU": 1.0})
    assert line.level == "ok"
