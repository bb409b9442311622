"""How many answers a second the built-in reward verifies, in several processes and without held verdicts.

Owns the answers and the clock. Each process is one verifier, as each reward actor has one; no two answers of
a process are alike, so nothing but the comparison is measured.
"""

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.report import Say, figures_table, measure_and_print
from pgpo_async.contracts import Prompt
from pgpo_async.rewards.verifier import Verifier

GROUP_SIZE = 8
THOUGHT = "The picture shows what is asked for, so I count and then add. " * 20
"""About as many characters as a short response has, all of which its form is looked for in."""


def run_and_print(*, seconds: float, processes: int, path: Path | None) -> None:
    """Measure and report."""
    measure_and_print(lambda say: bench_verify(seconds=seconds, processes=processes, say=say), show, path)


def bench_verify(*, seconds: float, processes: int, say: Say) -> dict[str, Any]:
    """Measure each kind of answer; verifications a second of all processes together."""
    context = multiprocessing.get_context("spawn")
    figures: dict[str, Any] = {"seconds": seconds, "processes": processes}
    with context.Pool(processes) as pool:
        for kind in KINDS:
            say(kind)
            rates = pool.starmap(rate, [(kind, seconds)] * processes, chunksize=1)
            figures[f"{kind}_per_s"] = sum(rates)
    return figures


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """A row for each kind of answer."""
    drawn = figures_table("answers", f"verified a second, {figures['processes']} processes")
    for kind in KINDS:
        drawn.add_row(kind, f"{figures[f'{kind}_per_s']:,.0f}")
    yield drawn


def rate(kind: str, seconds: float) -> float:
    """Verifications a second of one kind in this process, after a warm-up."""
    verifier, pairs = Verifier(), KINDS[kind]()
    _score(verifier, pairs, 0.2)
    return _score(verifier, pairs, seconds)


def _score(verifier: Verifier, pairs: Iterator[tuple[str, str]], seconds: float) -> float:
    count, spent_s = 0, 0.0
    while spent_s < seconds:
        group = list(itertools.islice(pairs, GROUP_SIZE))
        texts = [rf"<think>{THOUGHT}</think> \boxed{{{answer}}}" for answer, _ in group]
        prompt = Prompt(prompt_id=f"p/{count}", question="?", answer=group[0][1])
        start_s = time.perf_counter()
        verifier.score(texts, prompt)
        spent_s += time.perf_counter() - start_s
        count += len(texts)
    return count / spent_s


def _numbers() -> Iterator[tuple[str, str]]:
    return ((f"{number}.50", f"{number}.5") for number in itertools.count())


def _choices() -> Iterator[tuple[str, str]]:
    return ((f"{'ABCD'[number % 4]}. {number} objects", "B") for number in itertools.count())


def _words() -> Iterator[tuple[str, str]]:
    return (
        (f"object number {'abcdefghij'[number % 10] * (number % 97)}x", "red") for number in itertools.count()
    )


def _units() -> Iterator[tuple[str, str]]:
    return ((rf"{number}\text{{ cm}}^2", f"{number} cm^2") for number in itertools.count())


def _mathematics() -> Iterator[tuple[str, str]]:
    return ((rf"{number}\sqrt{{12}}", rf"{2 * number}\sqrt{{3}}") for number in itertools.count(2))


KINDS: Mapping[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "numbers": _numbers,
    "choices": _choices,
    "words": _words,
    "units": _units,
    "maths": _mathematics,
}
