"""`pgpo-async compare`: the runs of a comparison one after another, and its report after each.

    <output_dir>/<name>/<method>-seed<seed>-<time>/    a run folder, as `launch` makes it
                       /table.md, plots.png, ...       the report, see `report`

Owns the order, and what need not be done again: a run that is completed with the very same config is not
repeated, so a comparison that was interrupted goes on where it stopped. The processes of one run serve the
next one where it asks for the same. Called by the command line.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgpo_async.compare.curves import RunCurves, read_run
from pgpo_async.compare.report import write_report
from pgpo_async.config import CompareConfig, PlannedRun, dump_config
from pgpo_async.contracts import ConfigError, PgpoError
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.preflight import check_inputs
from pgpo_async.orchestration.run import Run
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.stop_signal import StopSignal


def run_comparison(compare: CompareConfig, planned: Sequence[PlannedRun]) -> int:
    """Do what is not done of a comparison; see `Comparison.run`."""
    return Comparison(compare, planned, Console()).run()


class Comparison:
    """The planned runs (`run_configs`, with `compare.folder` for their `output_dir`), and those done."""

    def __init__(self, compare: CompareConfig, planned: Sequence[PlannedRun], console: Console) -> None:
        self._compare = compare
        self._planned = planned
        self._folder = compare.folder
        self._console = console
        self._done: dict[tuple[str, int], Path] = {}
        self._cluster: Cluster | None = None

    def run(self) -> int:
        """Run what is not done yet; return 0, 1 if a run failed, or 130 after a signal.

        Raises ConfigError before anything is started if a run's model or data are missing, or if the report
        cannot be written.
        """
        _check_all(self._planned)
        self._find_done()
        left = [run for run in self._planned if (run.method, run.seed) not in self._done]
        self._say(f"{len(self._planned)} runs, {len(self._done)} of them done before, in {self._folder}")
        failures, interrupted = 0, False
        try:
            with StopSignal(self._say):
                for number, run in enumerate(left, start=1):
                    self._say(f"run {number} of {len(left)}: {run.method}, seed {run.seed}")
                    ended = self._run(run, last=number == len(left))
                    failures += ended == "failed"
                    interrupted = ended == "interrupted"
                    if interrupted:
                        break
                    if number < len(left):  # the last one is reported below
                        self._report()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._let_go()
        self._console.print(self._report())
        self._say(f"report: {self._folder / 'report.html'}")
        return 130 if interrupted else int(failures > 0)

    def _run(self, planned: PlannedRun, *, last: bool) -> str:
        """Do one run; return how it ended."""
        if self._cluster is not None and not self._cluster.can_renew(planned.config):
            self._let_go()
        folder = RunFolder(planned.config)
        run = Run(planned.config, folder, self._console, cluster=self._cluster, keep=not last)
        self._cluster = None  # the run's own now; it stops it unless it is completed
        try:
            code = run.run()
        except PgpoError as error:
            # The others are of use without it; the report names it.
            self._say(f"{planned.method}, seed {planned.seed} failed: {' '.join(error.message.split())}")
            return "failed"
        finally:
            self._cluster = run.kept
        if code == 0:
            self._done[planned.method, planned.seed] = folder.path
        return "completed" if code == 0 else "interrupted"

    def _let_go(self) -> None:
        if self._cluster is not None:
            for thing in self._cluster.stop():
                self._say(f"left behind: {thing}")
            self._cluster = None

    def _find_done(self) -> None:
        for run in self._planned:
            wanted = dump_config(run.config)
            for folder in sorted(self._folder.glob(f"{run.config.name}-*")):
                if _config_of(folder) == wanted and read_run(run.method, run.seed, folder).finished:
                    self._done[run.method, run.seed] = folder

    def _report(self) -> Table:
        runs: list[RunCurves] = []
        for run in self._planned:
            folder = self._done.get((run.method, run.seed)) or _newest(self._folder, run.config.name)
            runs.append(read_run(run.method, run.seed, folder))
        try:
            return write_report(self._folder, self._compare, runs)
        except OSError as error:
            where = error.filename or self._folder
            raise ConfigError(f"output_dir: cannot write the report: {error.strerror} ({where})") from error

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


def _check_all(planned: Sequence[PlannedRun]) -> None:
    issues: dict[str, None] = {}
    for run in planned:
        try:
            check_inputs(run.config)
        except ConfigError as error:
            issues |= dict.fromkeys(f"{run.method}: {issue}" for issue in error.issues)
    if issues:
        raise ConfigError(list(issues))


def _config_of(folder: Path) -> str | None:
    try:
        return (folder / "config.yaml").read_text(encoding="utf-8")
    except OSError:
        return None


def _newest(folder: Path, name: str) -> Path | None:
    return max(folder.glob(f"{name}-*"), default=None)
