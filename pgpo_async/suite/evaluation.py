"""One evaluation, from its folder to its results.

    settings.json    what its answers depend on
    answers.jsonl    each answer, as soon as it is there
    results.json     the figures, once all prompts were asked

Prompts that `answers.jsonl` holds are not asked again: one that was killed goes on where it was, and comes to
the same result, since each prompt's responses have a seed of their own. Called by `command`.
"""

import json
import os
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pgpo_async.actors.file_locks import FileLock
from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.evaluation.answer_file import NAME as ANSWERS
from pgpo_async.evaluation.answer_file import AnswerFile, Books
from pgpo_async.evaluation.results import BenchmarkResult, benchmark_result, results_json
from pgpo_async.metrics.strict_json import strict
from pgpo_async.orchestration.asking import ask
from pgpo_async.orchestration.evaluation_engines import EvaluationEngines
from pgpo_async.orchestration.held_out import accuracy_part
from pgpo_async.orchestration.replicas import Say
from pgpo_async.suite import identity
from pgpo_async.suite.benchmarks import Benchmark
from pgpo_async.suite.target import Target

RESULTS = "results.json"
LOCK = ".lock"
SAY_EVERY_S = 15.0


class Evaluation:
    """Of `benchmarks`, in `folder`. `force` throws away what is there."""

    def __init__(
        self,
        target: Target,
        benchmarks: Sequence[Benchmark],
        folder: Path,
        suite: str,
        *,
        force: bool = False,
    ) -> None:
        self.folder = folder
        self.target = target
        self.benchmarks = benchmarks
        self._settings = identity.identity(target.config, target.weights(), benchmarks, suite)
        self._failures: dict[str, list[str]] = defaultdict(list)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--output: {folder} cannot be made: {error.strerror}") from error
        self._lock = FileLock(folder / LOCK)
        if not self._lock.try_lock(shared=False):
            raise ConfigError(f"{folder}: an evaluation that writes there is still running")
        before = identity.read_settings(folder)
        if force:
            for name in (RESULTS, ANSWERS):
                (folder / name).unlink(missing_ok=True)
        elif before is not None:
            identity.check_same(folder, before, self._settings)
        self._write(identity.NAME, self._settings)

    def run(self, say: Say) -> list[BenchmarkResult]:
        """Ask what is not answered yet; return a row for each benchmark.

        Raises ConfigError, StageFailed, and ValueError for a benchmark of which no prompt was answered.
        """
        config = self.target.config
        file = AnswerFile(self.folder, config.evaluation.samples_per_prompt, accuracy_part(config))
        try:
            wanted = sum(benchmark.num_prompts for benchmark in self.benchmarks)
            done = sum(len(found) for found in file.answered.values())
            if done:
                say(f"{done} of {wanted} prompts are answered in {self.folder}")
            if not self._finished():
                self._ask(file, say, wanted - done)
            results = [self._result(benchmark, file.answered) for benchmark in self.benchmarks]
        finally:
            file.close()
        self._write(RESULTS, {"model": self.target.name, **results_json(results), "settings": self._settings})
        return results

    def _result(self, benchmark: Benchmark, books: Books) -> BenchmarkResult:
        answered, failures = books.get(benchmark.name, {}), self._failures[benchmark.name]
        accounted = len(answered) + len(failures)
        assert accounted == benchmark.num_prompts, f"{benchmark.name}: {accounted} of {benchmark.num_prompts}"
        return benchmark_result(benchmark.name, benchmark.title, answered, failures, benchmark.labels)

    def _ask(self, file: AnswerFile, say: Say, num_left: int) -> None:
        session = f"eval-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        with self.target.model(self.folder) as config, EvaluationEngines(config, session, say) as engines:
            benchmark_of: dict[str, str] = {}
            begun_s = said_s = time.monotonic()
            for number, answer in enumerate(ask(engines, self._prompts(file, benchmark_of), config), start=1):
                benchmark = benchmark_of.pop(answer.prompt.prompt_id)
                if answer.group is not None:
                    file.add(benchmark, answer.group)
                elif answer.failure is not None:
                    self._failures[benchmark].append(answer.failure)
                if (now_s := time.monotonic()) - said_s > SAY_EVERY_S:
                    said_s, per_s = now_s, number / (now_s - begun_s)
                    left_s = (num_left - number) / per_s
                    say(f"{number} of {num_left} prompts, {per_s:.1f} a second, {left_s:.0f} s to go")

    def _prompts(self, file: AnswerFile, benchmark_of: dict[str, str]) -> Iterator[Prompt]:
        """Those without answers, of all benchmarks one after another: the engines stay full."""
        for benchmark in self.benchmarks:
            done = file.answered.get(benchmark.name, {})
            for prompt in benchmark.prompts(self._failures[benchmark.name]):
                if prompt.prompt_id not in done:
                    benchmark_of[prompt.prompt_id] = benchmark.name
                    yield prompt

    def _finished(self) -> bool:
        """Whether all was asked; what failed then is known."""
        try:
            found = json.loads((self.folder / RESULTS).read_text(encoding="utf-8"))["benchmarks"]
        except (OSError, ValueError, KeyError):
            return False
        for name, row in found.items():
            self._failures[name] = [reason for reason, num in row["failures"].items() for _ in range(num)]
        return True

    def _write(self, name: str, values: dict[str, Any]) -> None:
        partial = self.folder / f".{name}.partial"
        partial.write_text(json.dumps(strict(values), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(partial, self.folder / name)
