"""The shipped checkpoint of the objects task: half sure of what it sees, sure of all the rest."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from pgpo_async.demo.objects import asked_value, count_of, described_looks
from pgpo_async.demo.sampling import boxed_answer, generate
from pgpo_async.demo.scenes import DemoExample
from pgpo_async.demo.task import OBJECTS_TASK
from pgpo_async.demo.tiny_vlm import tiny_vlm_objects_path, tiny_vlm_path
from pgpo_async.demo.tokenizer import train_tokenizer
from pgpo_async.demo.warm_start import supervised_batch

MAX_BYTES_OF_BOTH = int(3.5 * (1 << 20))
NUM_GROUPS, GROUP_SIZE = 50, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    examples: Sequence[DemoExample]
    responses: Sequence[Sequence[str]]
    lengths: Sequence[int]

    def rights(self) -> list[list[bool]]:
        return [
            [boxed_answer(response) == example.answer for response in group]
            for example, group in zip(self.examples, self.responses, strict=True)
        ]


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(tiny_vlm_objects_path())


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForImageTextToText.from_pretrained(tiny_vlm_objects_path(), dtype=torch.float32)


@pytest.fixture(scope="module")
def sampled(model: Any, processor: Any) -> Sampled:
    examples = [OBJECTS_TASK.example("heldout", 2, index) for index in range(NUM_GROUPS)]
    torch.manual_seed(2)
    responses, lengths = generate(
        model,
        processor,
        examples,
        max_new_tokens=OBJECTS_TASK.max_new_tokens,
        samples_per_prompt=GROUP_SIZE,
    )
    groups = [responses[i : i + GROUP_SIZE] for i in range(0, len(responses), GROUP_SIZE)]
    return Sampled(examples=examples, responses=groups, lengths=lengths)


def test_both_shipped_checkpoints_together_are_small() -> None:
    folders = (tiny_vlm_path(), tiny_vlm_objects_path())
    sizes = [path.stat().st_size for folder in folders for path in folder.iterdir()]
    assert sum(sizes) <= MAX_BYTES_OF_BOTH


def test_the_build_record_lies_inside_the_promised_window() -> None:
    record = json.loads((tiny_vlm_objects_path() / "BUILD.json").read_text())
    assert 0.35 <= record["sampled_accuracy"] <= 0.50
    assert record["clean_accuracy"] >= 0.97
    assert record["format_rate"] >= 0.97
    assert record["num_parameters"] < 1_000_000


def test_the_shipped_tokenizer_is_what_the_build_trains(model: Any, processor: Any) -> None:
    shipped = (tiny_vlm_objects_path() / "tokenizer.json").read_text()
    assert json.loads(shipped) == json.loads(train_tokenizer(OBJECTS_TASK).backend_tokenizer.to_str())
    assert model.config.text_config.vocab_size == len(processor.tokenizer)


def test_sampled_accuracy_leaves_room_to_learn(sampled: Sampled) -> None:
    rights = [right for group in sampled.rights() for right in group]
    assert 0.33 <= sum(rights) / len(rights) <= 0.55


def test_sampled_responses_are_well_formed_and_of_the_promised_length(sampled: Sampled) -> None:
    answers = [boxed_answer(response) for group in sampled.responses for response in group]
    assert sum(answer is not None for answer in answers) / len(answers) >= 0.95
    assert 70 <= sorted(sampled.lengths)[len(sampled.lengths) // 2] <= 110


def test_most_groups_hold_right_and_wrong_answers(sampled: Sampled) -> None:
    mixed = [0 < sum(group) < GROUP_SIZE for group in sampled.rights()]
    assert sum(mixed) / NUM_GROUPS >= 0.7


def test_a_wrong_answer_comes_of_what_was_seen_and_not_of_the_count(sampled: Sampled) -> None:
    consistent = [
        boxed_answer(response) == str(count_of(described_looks(response), asked_value(example.question)))
        for example, group in zip(sampled.examples, sampled.responses, strict=True)
        for response in group
    ]
    assert sum(consistent) / len(consistent) >= 0.75


def test_the_image_decides_what_is_seen(model: Any, processor: Any) -> None:
    """The described words' likelihood must fall when another image is shown: the model looks."""
    examples = [OBJECTS_TASK.example("heldout", 3, index) for index in range(24)]
    others = [*examples[2:], *examples[:2]]
    with torch.inference_mode():
        right = supervised_loss(model, processor, examples, examples)
        wrong = supervised_loss(model, processor, others, examples)
    assert right < wrong - 0.01


def supervised_loss(model: Any, processor: Any, shown: list[DemoExample], stated: list[DemoExample]) -> float:
    """Nats a token of the clean responses to `stated`'s questions, with `shown`'s images."""
    pairs = [
        DemoExample(
            example_id=own.example_id,
            question=own.question,
            answer=own.answer,
            image_png=image.image_png,
            clean_response=own.clean_response,
        )
        for own, image in zip(stated, shown, strict=True)
    ]
    return float(model(**supervised_batch(processor, pairs, [e.clean_response for e in stated])).loss)
