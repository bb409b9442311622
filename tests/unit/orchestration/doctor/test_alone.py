"""A check in its own process: real ones, that hang, crash, flood and fork."""

import re
from functools import partial

import psutil
import pytest

from pgpo_async.orchestration.doctor.alone import look_alone
from pgpo_async.orchestration.doctor.lines import ok

FIRST = ok("first", "found before")


def look(code: str, timeout_s: float = 60.0):
    """Run an expression as a check; `first` is a line."""
    check = partial(eval, code, {"first": FIRST})
    return list(look_alone("trial", check, timeout_s=timeout_s, by_hand="do it by hand"))


def test_lines_come_back_as_they_were():
    assert look("[first, first]") == [FIRST, FIRST]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("__import__('os').abort()", "was ended by SIGABRT"),
        ("__import__('os')._exit(3)", "ended with exit code 3"),
        ("__import__('sys').exit('bye')", "failed: SystemExit: bye"),
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("__import__('no_such_module')", "failed: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_crash_or_failure_is_one_line_after_those_found_before(code, text):
    lines = look(f"(first if number == 0 else {code} for number in range(2))")
    assert lines[0] == FIRST
    assert (lines[1].level, lines[1].name, lines[1].advice) == ("error", "trial", "do it by hand")
    assert text in lines[1].found
    assert "Traceback" not in lines[1].found


def test_what_is_raised_in_a_process_further_down_is_told_as_the_cause():
    child = "import sys; print('(Engine pid=7) ValueError: too large', file=sys.stderr); print('noise')"
    code = f"__import__('subprocess').run([__import__('sys').executable, '-c', {child!r}]) and 1 / 0"
    (line,) = look(code)
    assert "ZeroDivisionError" in line.found
    assert line.found.endswith("first in its output: ValueError: too large")


def test_a_check_that_hangs_is_stopped_with_all_it_started():
    code = "(print('sleeper', __import__('subprocess').Popen(['sleep', '600']).pid, flush=True), "
    code += "__import__('time').sleep(600))"
    (line,) = look(code, timeout_s=5.0)
    assert "took longer than 5 s and was stopped" in line.found
    sleeper = re.search(r"sleeper (\d+)", line.found)
    assert sleeper is not None
    assert not psutil.pid_exists(int(sleeper[1])) or psutil.Process(int(sleeper[1])).status() == "zombie"


def test_a_flood_of_output_stops_nothing():
    (line,) = look("[first for _ in [print('x' * 10_000_000)]]")
    assert line == FIRST
