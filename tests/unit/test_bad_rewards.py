"""Reward functions that misbehave: each is a RewardError by its name, and the next call works.

Real child processes, no Ray. The function does what the response says.
"""

import os
import time

import psutil
import pytest

from pgpo_async.actors.reward import RewardWorker
from pgpo_async.config.pipeline import RewardConfig
from pgpo_async.contracts import ConfigError, Prompt, RewardError, RewardTimeout

PROMPT = Prompt(prompt_id="p/1", question="q", answer="a", images=(b"x" * 300_000,))

FUNCTION = """
import ctypes, decimal, fractions, os, signal, subprocess, sys, threading, time

class Own(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")

class Sly(dict):
    def items(self):
        raise KeyError("no items")

def judge(response, prompt):
    what, _, place = response.partition(" ")
    if what == "fine":
        return float(len(response))
    if what == "cwd":
        return {"reward": 1.0, "home": float(os.getcwd() == os.environ["HOME_OF_TEST"])}
    return globals()[what](place)

def nan(_): return float("nan")
def infinite(_): return {"reward": -float("inf")}
def nothing(_): return None
def text(_): return "1.0"
def complex_number(_): return 1j
def huge_int(_): return 10 ** 5000
def huge_float(_): return 1e300
def sums_to_too_much(_): return {"a": 9e8, "b": 9e8}
def many_parts(_): return {str(i): 0.0 for i in range(10_000)}
def long_text(_): return "x" * 50_000_000
def no_parts(_): return {}
def nested(_): return {"reward": {"a": 1.0}}
def number_for_a_name(_): return {1: 1.0}
def sly_mapping(_): return Sly(a=1.0)
def not_a_number(_): return decimal.Decimal(1)

def raises(_): raise KeyError("no such key")
def raises_own_base(_): raise Own("mine")
def raises_interrupt(_): raise KeyboardInterrupt
def raises_generator_exit(_): raise GeneratorExit
def raises_mute(_): raise Mute
def raises_novel(_): raise ValueError("y" * 50_000_000)
def exits_politely(_): sys.exit(3)
def recurses(_): return recurses(_)
def wants_memory(_): return float(len(bytearray(1 << 40)))

def exits(_): os._exit(7)
def segfaults(_): ctypes.string_at(0)
def kills_itself(_): os.kill(os.getpid(), signal.SIGKILL)
def closes_files(_): os.closerange(3, 4096); return 1.0
def garbles_pipe(_):
    for fd in range(3, 4096):
        try: os.write(fd, b"\\0" * 7 + b"\\5hello")
        except OSError: pass
    return 1.0
def claims_gigabytes(_):
    for fd in range(3, 4096):
        try: os.write(fd, b"\\x7f" + b"\\xff" * 7)
        except OSError: pass
    return 1.0

def sleeps(_): time.sleep(600)
def never_yields(_): return float(len(str(7 ** (7 ** 9))))
def swallows_all(_):
    while True:
        try: time.sleep(60)
        except BaseException: pass
def ignores_signals(_):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
    time.sleep(600)
def stops_itself(_): os.kill(os.getpid(), signal.SIGSTOP); return 1.0
def reads_stdin_for_ever(_):
    while True: sys.stdin.read(1)
def floods_for_ever(_):
    while True: os.write(1, b"flood " * 10_000)

def child(note):
    pid = os.fork()
    if pid == 0:
        if note.startswith("daemon"):
            os.setsid()
            if os.fork(): os._exit(0)
        with open(note.split(":")[-1], "a") as file: file.write(f"{os.getpid()}\\n")
        time.sleep(600)
        os._exit(0)
def written(note):
    while not (os.path.exists(note) and os.path.getsize(note)): time.sleep(0.01)
def forks_and_exits(note): child(note); written(note); os._exit(9)
def forks_and_hangs(note): child(note); time.sleep(600)
def forks_a_daemon_and_hangs(note): child("daemon:" + note); time.sleep(600)
def forks_a_daemon_and_exits(note): child("daemon:" + note); written(note); os._exit(9)
def forks_a_shell_and_hangs(note):
    subprocess.Popen(["sh", "-c", f"echo $$ >> {note}; sleep 600"], start_new_session=True)
    time.sleep(600)

def forks_and_both_come_back(_): os.fork(); return 2.0
def floods(_):
    for _ in range(3000): os.write(1, b"x" * 100_000); os.write(2, b"y" * 100)
    return 3.0
def leaves_a_thread(_): threading.Thread(target=time.sleep, args=(600,)).start(); return 4.0
def leaves_an_alarm(_): signal.setitimer(signal.ITIMER_REAL, 0.3); return 5.0
def changes_folder(_): os.chdir("/"); return 6.0
def closes_stdout(_): os.close(0); os.close(1); os.close(2); return 7.0
def empties_modules(_): sys.stdout = None; sys.argv.clear(); return 8.0
"""

REFUSED = {
    "reward_invalid": {
        "nan": "nan",
        "infinite": "inf",
        "nothing": "None",
        "text": "'1.0'",
        "complex_number": "1j",
        "huge_int": "an? int that cannot be shown",
        "huge_float": "1e\\+300",
        "sums_to_too_much": "sum is 1800000000",
        "many_parts": "more than 100 parts",
        "long_text": "'xxx",
        "no_parts": "an empty dict",
        "nested": "'reward': {'a': 1.0}",
        "number_for_a_name": "1: 1.0",
        "sly_mapping": "KeyError: 'no items'",
        "not_a_number": "Decimal",
    },
    "reward_error": {
        "raises": "KeyError: 'no such key'",
        "raises_own_base": "Own: mine",
        "raises_interrupt": "KeyboardInterrupt",
        "raises_generator_exit": "GeneratorExit",
        "raises_mute": "Mute: .its text cannot be told",
        "raises_novel": "ValueError: yyyy",
        "exits_politely": "SystemExit: 3",
        "recurses": "RecursionError",
        "wants_memory": "MemoryError",
    },
    "reward_crashed": {
        "exits": "exit code 7",
        "segfaults": "exit code -11",
        "kills_itself": "exit code -9",
        "closes_files": "reward process (died|closed)",
        "garbles_pipe": "something else than an answer",
        "claims_gigabytes": "answered with \\d+ bytes",
        "forks_and_exits": "exit code 9",
        "forks_a_daemon_and_exits": "exit code 9",
    },
    "reward_timeout": {
        "sleeps": "within 1.5 s",
        "never_yields": "within 1.5 s",
        "swallows_all": "within 1.5 s",
        "ignores_signals": "within 1.5 s",
        "stops_itself": "within 1.5 s",
        "floods_for_ever": "within 1.5 s: .*its last output: .*flood flood",
        "forks_and_hangs": "within 1.5 s",
        "forks_a_daemon_and_hangs": "within 1.5 s",
        "forks_a_shell_and_hangs": "within 1.5 s",
        "reads_stdin_for_ever": "within 1.5 s",
    },
}
CASES = [(reason, what, words) for reason, kinds in REFUSED.items() for what, words in kinds.items()]
HARMLESS = {
    "forks_and_both_come_back": 2.0,
    "floods": 3.0,
    "leaves_a_thread": 4.0,
    "leaves_an_alarm": 5.0,
    "changes_folder": 6.0,
    "closes_stdout": 7.0,
    "empties_modules": 8.0,
}


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    path = tmp_path_factory.mktemp("judge") / "judge.py"
    path.write_text(FUNCTION)
    os.environ["HOME_OF_TEST"] = os.getcwd()
    config = RewardConfig(timeout_s=1.5, function=f"{path}:judge", max_memory_bytes=4 << 30)
    worker = RewardWorker(config)
    worker.prepare()
    yield worker
    worker.close()


def runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # a container may have nobody to reap it
    except psutil.NoSuchProcess:
        return False


def fine(worker):
    """The next group is scored, in the folder where the first was."""
    scored = worker.score(["fine", "fine too", "cwd"], PROMPT)
    assert [s.total for s in scored] == [4.0, 8.0, 1.0]
    assert scored[2].parts["home"] == 1.0


@pytest.mark.parametrize(("reason", "what", "words"), CASES, ids=[what for _, what, _ in CASES])
def test_a_reward_that_misbehaves_is_an_error_by_its_name_and_the_next_one_is_right(
    worker, tmp_path, reason, what, words
):
    note = tmp_path / "pids"
    kind = RewardTimeout if reason == "reward_timeout" else RewardError
    began = time.monotonic()
    with pytest.raises(kind, match=f"(?s){words}") as caught:
        worker.score(["fine", f"{what} {note}"], PROMPT)
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 10_000
    assert time.monotonic() - began < 10.0
    if what.startswith("forks"):
        pids = [int(line) for line in note.read_text().split()]
        assert pids
        assert not [pid for pid in pids if runs(pid)], "what it forked went with it"
    fine(worker)


@pytest.mark.parametrize("what", HARMLESS)
def test_what_a_reward_leaves_behind_does_not_reach_the_next_one(worker, what):
    assert worker.score([what], PROMPT)[0].total == HARMLESS[what]
    fine(worker)
    time.sleep(0.4 if what == "leaves_an_alarm" else 0.0)
    fine(worker)


def test_what_a_reward_forked_ends_with_the_worker(worker, tmp_path):
    note = tmp_path / "pids"
    other = RewardWorker(RewardConfig(timeout_s=5.0, function=worker._spec[2]))
    other.score([f"fine {note}"], PROMPT)
    with pytest.raises(RewardError):
        other.score([f"child {note}"], PROMPT)  # None is no reward, its fork lives on
    deadline = time.monotonic() + 10.0
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = int(note.read_text())
    assert runs(pid)
    other.close()
    assert not runs(pid)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("import os; os._exit(5)", RewardError, "died with exit code 5"),
        ("import sys; sys.exit(5)", ConfigError, "raised SystemExit: 5"),
        ("def judge(", ConfigError, "raised SyntaxError"),
        ("raise KeyboardInterrupt", RewardError, "KeyboardInterrupt"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_when_the_actor_prepares(tmp_path, code, kind, words):
    (tmp_path / "judge.py").write_text(code)
    worker = RewardWorker(RewardConfig(function=f"{tmp_path / 'judge.py'}:judge"))
    try:
        with pytest.raises(kind, match=words):
            worker.prepare()
    finally:
        worker.close()
