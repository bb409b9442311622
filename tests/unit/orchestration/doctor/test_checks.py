import json
import subprocess
import sys
from functools import partial

import pytest
import typer
from typer.testing import CliRunner

from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.doctor import checks as all_of_them
from pgpo_async.orchestration.doctor.checks import Check, all_checks, examine
from pgpo_async.orchestration.doctor.command import doctor
from pgpo_async.orchestration.doctor.lines import Line, error, ok, warning
from pgpo_async.orchestration.doctor.settings import examined_config


def test_a_line_that_is_not_ok_must_say_what_to_do():
    with pytest.raises(ValueError, match="must say what to do"):
        Line(level="warning", name="x", found="y")


def test_a_check_that_fails_is_a_line_and_what_needs_it_is_not_looked_at():
    asked = []
    lines = list(
        examine(
            [
                Check(name="good", look=lambda: [ok("good", "yes")]),
                Check(name="torn", look=lambda: [1 / 0]),
                Check(name="after", look=lambda: asked.append(1), needs=("good", "torn")),
                Check(name="last", look=lambda: asked.append(2), needs=("after",)),
                Check(name="alone", look=partial(eval, "1 / 0"), timeout_s=60.0, needs=("good",)),
            ]
        )
    )
    assert [(line.name, line.level) for line in lines] == [
        ("good", "ok"),
        ("torn", "error"),
        ("after", "warning"),
        ("last", "warning"),
        ("alone", "error"),
    ]
    assert "ZeroDivisionError" in lines[1].found
    assert "torn" in lines[2].found
    assert asked == []


def test_checks_run_from_cheap_to_dear_and_parity_last(config, machine):
    full = all_checks(config(), machine)
    assert full[-1].name == "parity"
    assert full[-1].timeout_s > config().generator.start_timeout_s
    first_alone = next(i for i, check in enumerate(full) if check.timeout_s is not None)
    assert all(check.timeout_s is not None for check in full[first_alone:])
    quick = all_checks(config(), machine, quick=True)
    assert [line.found for line in quick[-1].look()] == ["not tried (--quick)"]


def test_the_doctor_itself_imports_nothing_that_may_be_broken():
    program = (
        "import sys, pgpo_async.orchestration.doctor.checks, pgpo_async.orchestration.doctor.printing;"
        "print({'torch', 'ray', 'vllm', 'deepspeed', 'transformers', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_without_a_config_the_demos_settings_are_examined():
    assert examined_config(None, []).model.path == "builtin:tiny-vlm"
    # Its model has no more positions than 2048.
    demo = examined_config(None, ["seed=7"])
    assert demo.data.max_prompt_tokens + demo.generation.max_response_tokens <= 2048
    assert demo.seed == 7
    with pytest.raises(ConfigError, match=r"override 'sead=7': sead: unknown key"):
        examined_config(None, ["sead=7"])


@pytest.fixture
def command(monkeypatch):
    """Run the command with the given lines as all that is found."""
    app = typer.Typer()
    app.command()(doctor)

    def _command(lines, *arguments):
        check = Check(name="only", look=lambda: lines)
        monkeypatch.setattr(all_of_them, "all_checks", lambda *_args, **_options: [check])
        return CliRunner().invoke(app, list(arguments))

    return _command


def test_only_an_error_makes_the_exit_code_1(command):
    fine = [ok("a", "well"), warning("b", "so so", "mend it")]
    done = command(fine, "configs/local.yaml")
    assert (done.exit_code, done.stdout.splitlines()[-1][:30]) == (0, "0 errors, 1 warnings, 1 ok, in")
    done = command([*fine, error("c", "broken", "run this")], "configs/local.yaml")
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("error")]
    assert line.split() == ["error", "c", "broken", "->", "run", "this"]


def test_a_wrong_config_or_command_line_exits_with_2(command, tmp_path):
    assert command([], "no.yaml").exit_code == 2
    assert command([], "train.num_steps=none").exit_code == 2
    done = command([], "configs/local.yaml", "--json", str(tmp_path / "none" / "file"))
    assert done.exit_code == 2
    assert "must exist" in done.stderr


def test_an_override_needs_no_config_and_lines_are_written_as_json(command, tmp_path):
    path = tmp_path / "lines.json"
    done = command([error("c", "[red]broken", "run this")], "train.num_steps=3", "--json", str(path))
    assert done.exit_code == 1
    assert "no CONFIG given: the demo's settings" in done.stdout
    assert "[red]broken" in done.stdout
    written = json.loads(path.read_text())
    assert (written["errors"], written["warnings"], written["config"]) == (1, 0, None)
    assert written["lines"] == [{"level": "error", "name": "c", "found": "[red]broken", "advice": "run this"}]


def test_what_others_wrote_stays_one_plain_line():
    assert error("x", "first:\n  \x1b[31msecond\tthird", "do").found == "first: ?[31msecond third"
