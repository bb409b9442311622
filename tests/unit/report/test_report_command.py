import pytest
import typer
from typer.testing import CliRunner

from pgpo_async.report.report_command import report

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(report)


def run_command(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_page_is_written_into_the_runs_folder_and_its_place_is_printed(new_run):
    run = new_run().whole()
    done = run_command(run.path)
    assert done.exit_code == 0
    assert done.stdout.strip() == str(run.path / "report.html")
    assert (run.path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert not list(run.path.glob(".*.partial"))


def test_the_page_goes_where_it_is_asked(new_run, tmp_path):
    done = run_command(new_run().whole().path, "--output", tmp_path / "a.html")
    assert (done.exit_code, (tmp_path / "a.html").exists()) == (0, True)


@pytest.mark.parametrize("output", ["nowhere/a.html", "."])
def test_a_file_that_cannot_be_written_is_told_in_a_line(new_run, tmp_path, output):
    done = run_command(new_run().whole().path, "--output", tmp_path / output)
    assert done.exit_code == 2
    assert "--output: " in done.stderr
    assert "cannot be written" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_folder_that_is_no_runs_is_told_in_a_line(tmp_path):
    done = run_command(tmp_path / "none")
    assert done.exit_code == 2
    assert done.stderr.strip() == f"{tmp_path / 'none'}: must be the folder of a run, got no such folder"
