"""Every reference case has the verdict written beside it; where math-verify alone differs is listed.

`python tests/unit/rewards/test_reference_cases.py` writes the list anew, to be read in the diff.
"""

import json
import logging
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from pgpo_async.contracts import Prompt
from pgpo_async.rewards.verifier import Verifier

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
CASES = GOLDEN / "answers.jsonl"
DISAGREEMENTS = GOLDEN / "answers_math_verify.jsonl"
KINDS = {
    "fraction",
    "set",
    "interval",
    "unit",
    "percent",
    "latex",
    "choice",
    "negative",
    "several boxes",
    "tags",
}


@cache
def cases() -> list[dict[str, Any]]:
    return rows(CASES)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def math_verify_alone(response: str, answer: str) -> bool:
    from math_verify import parse, verify

    for module in ("parser", "grader"):  # both warn that their own time limit is off
        logging.getLogger(f"math_verify.{module}").setLevel(logging.ERROR)
    reference = parse(rf"\boxed{{{answer}}}", parsing_timeout=None)
    return bool(verify(reference, parse(response, parsing_timeout=None), timeout_seconds=None))


def disagreements() -> list[dict[str, Any]]:
    return [
        {**case, "math_verify": not case["right"]}
        for case in cases()
        if math_verify_alone(case["response"], case["answer"]) != case["right"]
    ]


def test_every_reference_case_has_its_verdict() -> None:
    verifier = Verifier()
    wrong = []
    for case in cases():
        prompt = Prompt(prompt_id="p/1", question="?", answer=case["answer"])
        (scored,) = verifier.score([case["response"]], prompt)
        if scored.parts["accuracy"] != case["right"]:
            wrong.append(case)
    assert wrong == []


def test_there_are_enough_cases_of_each_kind_on_both_sides_each_once_and_with_a_reason() -> None:
    assert len(cases()) >= 300
    assert len({(case["response"], case["answer"]) for case in cases()}) == len(cases())
    assert all(case["reason"] and case["right"] in (True, False) for case in cases())
    sides = Counter((case["kind"], case["right"]) for case in cases())
    assert all(sides[kind, right] >= 3 for kind in KINDS for right in (True, False))


def test_where_math_verify_alone_disagrees_is_listed() -> None:
    found = disagreements()
    for case in found:
        word = "right" if case["math_verify"] else "wrong"
        print(f"math-verify: {word}: {case['response']!r} for {case['answer']!r}: here {case['reason']}")
    assert found == rows(DISAGREEMENTS)


if __name__ == "__main__":
    DISAGREEMENTS.write_text("".join(json.dumps(case) + "\n" for case in disagreements()), encoding="utf-8")
