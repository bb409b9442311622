"""Answers on disk: what was written whole is there after a kill, and nothing else."""

import json

import numpy as np
import pytest

from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, VersionSpan
from pgpo_async.evaluation.answer_file import NAME, AnswerFile, read_answers


def group(prompt_id, accuracies, *, finish="stop", text="so \\boxed{7}"):
    def rollout(accuracy):
        return Rollout(
            response_token_ids=np.arange(3, dtype=np.int32),
            behaviour_logprobs=np.zeros(3, np.float32),
            version_spans=(VersionSpan(version=0, start=0, end=3),),
            finish_reason=finish,
            text=text,
            reward=accuracy,
            reward_parts={"accuracy": accuracy, "format": 0.0},
        )

    return RolloutGroup(
        group_id=prompt_id,
        prompt=Prompt(prompt_id=prompt_id, question="q", answer="7"),
        prompt_token_ids=np.arange(4, dtype=np.int32),
        rollouts=tuple(rollout(accuracy) for accuracy in accuracies),
        generator="g",
    )


def filled(folder):
    file = AnswerFile(folder, 2, "accuracy")
    file.add("a", group("a/0", [1.0, 0.0]))
    file.add("a", group("a/1", [1.0, 1.0], finish="length"))
    file.add("b", group("b/0", [0.0, 0.0], text="\u0000 \ud83d\ude00 \n"))
    file.close()
    return file.answered


def test_every_answer_is_a_line_with_its_text_and_its_verdict(tmp_path):
    filled(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / NAME).read_bytes().splitlines()]
    assert [(r["benchmark"], r["prompt_id"], r["sample"], r["accuracy"]) for r in rows] == [
        ("a", "a/0", 0, 1.0), ("a", "a/0", 1, 0.0), ("a", "a/1", 0, 1.0), ("a", "a/1", 1, 1.0),
        ("b", "b/0", 0, 0.0), ("b", "b/0", 1, 0.0),
    ]  # fmt: skip
    assert rows[0]["text"] == "so \\boxed{7}"
    assert (rows[0]["answer"], rows[0]["parts"]) == ("7", {"accuracy": 1.0, "format": 0.0})


def test_whatever_byte_a_kill_cut_it_at_the_whole_prompts_are_there_and_the_rest_is_asked_again(tmp_path):
    answered = filled(tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    ends = [end for end, byte in enumerate(whole, start=1) if byte == ord("\n")][1::2]
    assert read_answers(tmp_path, 2) == answered
    for cut in range(len(whole)):
        (tmp_path / NAME).write_bytes(whole[:cut])
        file = AnswerFile(tmp_path, 2, "accuracy")
        assert sum(map(len, file.answered.values())) == sum(end <= cut for end in ends)
        for name, prompt_id, accuracies, how in (
            ("a", "a/0", [1.0, 0.0], {}),
            ("a", "a/1", [1.0, 1.0], {"finish": "length"}),
            ("b", "b/0", [0.0, 0.0], {"text": "\u0000 \ud83d\ude00 \n"}),
        ):
            if prompt_id not in file.answered.get(name, {}):
                file.add(name, group(prompt_id, accuracies, **how))
        file.close()
        assert read_answers(tmp_path, 2) == answered
        assert sorted((tmp_path / NAME).read_bytes().split(b"\n")) == sorted(whole.split(b"\n"))


def test_a_lone_surrogate_in_a_text_is_replaced_and_the_line_stays_json(tmp_path):
    file = AnswerFile(tmp_path, 1, "accuracy")
    file.add("a", group("a/0", [1.0], text="\ud800"))
    file.close()
    assert json.loads((tmp_path / NAME).read_text())["text"] == "?"


def test_a_part_that_is_no_reward_is_a_key_error_and_writes_nothing(tmp_path):
    file = AnswerFile(tmp_path, 1, "exactness")
    with pytest.raises(KeyError):
        file.add("a", group("a/0", [1.0]))
    assert (tmp_path / NAME).read_bytes() == b""
