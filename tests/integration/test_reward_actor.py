r"""The reward actor in a real Ray: right rewards, failures that are named, and no process left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"

import psutil
import pytest
import ray

from pgpo_async.actors.reward import RewardWorker
from pgpo_async.config.pipeline import RewardConfig
from pgpo_async.contracts import ConfigError, Prompt, RewardError, RewardTimeout

PROMPT = Prompt(prompt_id="p/1", question="how long ?", answer=r"2\sqrt{3}", images=(b"picture",))
RIGHT, WRONG = r"<think>a</think> \boxed{\sqrt{12}}", r"\boxed{\sqrt{13}}"
LIMIT_S = 120.0

FUNCTION = """
import os, signal, threading, time

def judge(response, prompt):
    if response == "raise":
        raise KeyError("no such key")
    if response == "hang":
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
    if response == "block":
        return float(len(str(7 ** (7 ** 9))))  # one C call: no signal handler of Python's gets a turn
    if response == "exit":
        os._exit(1)
    if response == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if response == "nan":
        return float("nan")
    assert threading.current_thread() is threading.main_thread()
    return {"reward": float(len(response)), "pid": float(os.getpid()), "images": float(len(prompt.images))}
"""


class Probe(RewardWorker):
    """The worker, and its process as the tests want to see it."""

    def pid(self) -> int:
        return os.getpid()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def function(tmp_path: Path) -> str:
    path = tmp_path / "judge.py"
    path.write_text(FUNCTION)
    return f"{path}:judge"


def start(config: RewardConfig) -> Any:
    actor = ray.remote(Probe).options(num_cpus=1, max_concurrency=8).remote(config)
    get(actor.prepare.remote())
    return actor


def get(reference: Any) -> Any:
    return ray.get(reference, timeout=LIMIT_S)


def score(actor: Any, *texts: str) -> list[Any]:
    scored: list[Any] = get(actor.score.remote(list(texts), PROMPT))
    return scored


def children(actor: Any) -> list[psutil.Process]:
    return psutil.Process(get(actor.pid.remote())).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not alive


@pytest.mark.usefixtures("cluster")
def test_answers_that_need_mathematics_are_scored_by_concurrent_calls() -> None:
    actor = start(RewardConfig(timeout_s=60.0))
    try:
        calls = [actor.score.remote([RIGHT, WRONG, "nothing"], PROMPT) for _ in range(6)]
        for scored in ray.get(calls, timeout=LIMIT_S):
            assert [s.total for s in scored] == pytest.approx([1.0, 0.0, 0.0])
            assert scored[0].parts == {"accuracy": 1.0, "format": 1.0}
        scorers = children(actor)
        get(actor.close.remote())
        assert len(scorers) == 1
        assert gone(scorers)
        with pytest.raises(RewardError, match="closed") as caught:
            score(actor, RIGHT)
        assert caught.value.reason == "reward_closed"
    finally:
        ray.kill(actor)


@pytest.mark.usefixtures("cluster")
def test_every_failure_has_its_name_and_the_next_call_works(function: str) -> None:
    actor = start(RewardConfig(timeout_s=1.0, function=function))
    try:
        first_pid = score(actor, "four")[0].parts["pid"]
        cases = {
            "raise": (RewardError, "reward_error", "no such key"),
            "nan": (RewardError, "reward_invalid", "finite"),
            "hang": (RewardTimeout, "reward_timeout", "within 1.0 s"),
            "exit": (RewardError, "reward_crashed", "exit code 1"),
            "crash": (RewardError, "reward_crashed", "exit code -11"),
            "block": (RewardTimeout, "reward_timeout", "within 1.0 s"),
        }
        for text, (kind, reason, words) in cases.items():
            with pytest.raises(kind, match=words) as caught:
                score(actor, "fine", text)
            assert caught.value.reason == reason
            (scored,) = score(actor, "four")
            assert (scored.total, scored.parts["images"]) == (4.0, 1.0)
        assert scored.parts["pid"] != first_pid
        (child,) = [p for p in children(actor) if p.pid == scored.parts["pid"]]
        child.kill()  # idle, as the kernel does when memory runs out: costs no group
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:  # reaped at the next call
            time.sleep(0.05)
        assert score(actor, "four")[0].total == 4.0
    finally:
        ray.kill(actor)


@pytest.mark.usefixtures("cluster")
def test_a_call_that_waits_behind_a_late_one_is_not_late_itself(function: str) -> None:
    actor = start(RewardConfig(timeout_s=1.0, function=function))
    try:
        late = [actor.score.remote(["hang"], PROMPT) for _ in range(2)]
        waiting = [actor.score.remote(["four"], PROMPT) for _ in range(3)]
        assert [scored[0].total for scored in ray.get(waiting, timeout=LIMIT_S)] == [4.0] * 3
        for reference in late:
            with pytest.raises(RewardTimeout):
                get(reference)
    finally:
        ray.kill(actor)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("busy", [False, True])
def test_the_child_dies_with_an_actor_that_is_killed(function: str, busy: bool) -> None:
    actor = start(RewardConfig(timeout_s=60.0, function=function))
    if busy:
        actor.score.remote(["block"], PROMPT)
        time.sleep(1.0)
    processes = children(actor)
    assert processes
    os.kill(get(actor.pid.remote()), signal.SIGKILL)
    assert gone(processes)


OWNER = """
import sys
from pgpo_async.actors.reward import RewardWorker
from pgpo_async.config.pipeline import RewardConfig
from pgpo_async.contracts import Prompt

if __name__ == "__main__":
    worker = RewardWorker(RewardConfig(timeout_s=60.0, function=sys.argv[1]))
    worker.prepare()
    print("ready", flush=True)
    worker.score(["block"], Prompt(prompt_id="p/1", question="q", answer="a"))
"""


def test_a_child_that_never_looks_up_dies_with_its_owner_by_the_kernel_alone(
    function: str, tmp_path: Path
) -> None:
    # Ray kills the children of a dead worker too, so this one has an owner without Ray.
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    owner = subprocess.Popen([sys.executable, str(script), function], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        time.sleep(1.0)
        processes = psutil.Process(owner.pid).children(recursive=True)
        assert processes
        owner.kill()
        owner.wait(10)
        assert gone(processes)
    finally:
        owner.kill()
        owner.wait(10)


@pytest.mark.usefixtures("cluster")
def test_a_function_that_cannot_be_loaded_is_a_config_error_when_the_actor_prepares(function: str) -> None:
    actor = ray.remote(Probe).options(num_cpus=1).remote(RewardConfig(function=function + "s"))
    try:
        with pytest.raises(ConfigError, match="did you mean 'judge'"):
            get(actor.prepare.remote())
    finally:
        ray.kill(actor)


def test_the_child_outlives_the_thread_that_asked_for_it_and_close_ends_a_waiting_call(function: str) -> None:
    # Without Ray: the kernel ties a child to the thread that started it, and callers' threads come and go.
    worker = RewardWorker(RewardConfig(timeout_s=60.0, function=function))
    failures: list[RewardError] = []

    def hang() -> None:
        try:
            worker.score(["hang"], PROMPT)
        except RewardError as error:
            failures.append(error)

    def run(target: Any) -> threading.Thread:
        thread = threading.Thread(target=target)
        thread.start()
        return thread

    pids: list[float] = []

    def ask() -> None:
        pids.append(worker.score(["four"], PROMPT)[0].parts["pid"])

    for _ in range(2):
        run(ask).join(LIMIT_S)
        time.sleep(0.5)
    assert pids[0] == pids[1]
    hanging = run(hang)
    time.sleep(0.5)
    worker.close()
    worker.close()
    hanging.join(LIMIT_S)
    assert [error.reason for error in failures] == ["reward_closed"]
    assert not psutil.pid_exists(int(pids[0]))
