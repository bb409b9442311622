"""`pgpo-async scale`: what is asked, who answers, and what happens when nobody does."""

import threading

import pytest

from pgpo_async.config import load_config
from pgpo_async.config.pipeline import GeneratorConfig
from pgpo_async.contracts import ConfigError, WaitTimeout
from pgpo_async.orchestration.placement import check_room
from pgpo_async.orchestration.requests import Inbox, ask
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.scaling import answer_request, parse_counts, scale_run


class StandIn:
    """A cluster that can be resized, but for scorers."""

    def resize(self, role, count):
        if role == "scorer":
            raise ConfigError("this run has no scorers, so their number cannot change")
        return f"{role}s: 1 -> {count}"


@pytest.fixture
def running(tmp_path):
    """A run folder whose driver serves requests."""
    folder = RunFolder(load_config("configs/local.yaml", [f"output_dir={tmp_path}"]))
    inbox = Inbox(folder.path, lambda request: answer_request(StandIn(), request))
    ended = threading.Event()

    def serve():
        while not ended.wait(0.01):
            inbox.serve()

    thread = threading.Thread(target=serve)
    thread.start()
    yield folder
    ended.set()
    thread.join()
    folder.unlock()


def test_a_running_job_answers_with_what_it_did(running):
    assert scale_run(running.path, ["generator=4"]) == "generators: 1 -> 4"
    assert list((running.path / "requests").iterdir()) == [], "nothing stays behind"


def test_a_refusal_is_told_to_who_asked(running):
    with pytest.raises(ConfigError, match="has no scorers"):
        scale_run(running.path, ["scorer=2"])


def test_a_request_that_cannot_be_read_is_answered_and_harms_nothing(running):
    with pytest.raises(ConfigError, match="cannot be read"):
        ask(running.path, {"other": 1}, timeout_s=5.0)
    assert scale_run(running.path, ["generator=2"]) == "generators: 1 -> 2"


def test_a_run_that_does_not_run_or_answer_is_told_apart(tmp_path):
    with pytest.raises(ConfigError, match="must be a run folder"):
        scale_run(tmp_path, ["generator=4"])
    folder = RunFolder(load_config("configs/local.yaml", [f"output_dir={tmp_path}"]))
    with pytest.raises(WaitTimeout, match="to answer"):
        ask(folder.path, {"scale": {"generator": 4}}, timeout_s=0.1)
    folder.unlock()
    with pytest.raises(ConfigError, match="is not running"):
        scale_run(folder.path, ["generator=4"])


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (["generater=4"], "did you mean 'generator'"),
        (["generator=0"], "at least 1"),
        (["generator"], "must be ROLE=NUMBER"),
        (["learner=2"], "must be one of generator, scorer"),
        ([], "must be given"),
    ],
)
def test_a_wrong_wish_is_refused_before_anybody_is_asked(wanted, problem):
    with pytest.raises(ConfigError, match=problem):
        parse_counts(wanted)


def test_a_ray_that_cannot_grow_says_what_it_lacks():
    role = GeneratorConfig(cpus=0.5)
    assert check_room(role, 2, {"CPU": 1.0}) is None
    assert check_room(role, -1, {}) is None
    assert "3 more ask for 1.5 CPUs, 1 are free" in check_room(role, 3, {"CPU": 1.0})
    assert "2 more ask for 2 GPUs, 0 are free" in check_room(GeneratorConfig(gpus=1), 2, {"CPU": 9.0})
