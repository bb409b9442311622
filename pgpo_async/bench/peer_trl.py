"""TRL's GRPO trainer on given responses: its own preparation, loss, backward and update, timed apart.

Only generation and reward are replaced, and what TRL does around generating (it processes the images once
for that alone, and decodes the responses for the reward) is in no figure. The micro-batch is the one that a
trial finds quickest. Called by `peer`.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pgpo_async.bench.trl_settings import TRIAL_STEPS, fitting_micro_batches, grpo_config, import_trl
from pgpo_async.contracts.rollouts import Int32Array
from pgpo_async.policy.images import decode_image


@dataclass(frozen=True, kw_only=True, slots=True)
class TrlTimes:
    """Seconds of each step after the first: between responses and loss, and from the loss to the update."""

    version: str
    micro_batch: int
    prepare_s: tuple[float, ...]
    step_s: tuple[float, ...]

    @property
    def whole_s(self) -> float:
        """Median of a whole step."""
        return median(a + b for a, b in zip(self.prepare_s, self.step_s, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Prompts as (text, encoded image); for each its responses and their rewards."""

    prompts: Sequence[tuple[str, bytes]]
    responses: Sequence[Sequence[Int32Array]]
    rewards: Sequence[Sequence[float]]

    @property
    def num_responses(self) -> int:
        """Of all prompts together."""
        return sum(map(len, self.responses))


def measure_trl(
    model_folder: Path, task: Task, *, steps: int, lr: float, micro_batch: int | None = None
) -> TrlTimes:
    """Time `steps` optimizer steps, at the quickest micro-batch unless one is given.

    Raises ConfigError without TRL, RuntimeError if TRL trained on anything but the given responses.
    """
    trl = import_trl()
    if micro_batch is None:
        fitting = fitting_micro_batches(task.num_responses)
        trials = {size: _run(trl, model_folder, task, size, steps=TRIAL_STEPS, lr=lr) for size in fitting}
        micro_batch = min(trials, key=lambda size: min(trials[size].step_s))
    return _run(trl, model_folder, task, micro_batch, steps=steps, lr=lr)


def _run(trl: Any, model_folder: Path, task: Task, micro_batch: int, *, steps: int, lr: float) -> TrlTimes:
    from transformers import AutoProcessor, PrinterCallback, Qwen2_5_VLForConditionalGeneration

    with tempfile.TemporaryDirectory() as folder:
        arguments = grpo_config(
            trl,
            folder,
            num_responses=task.num_responses,
            micro_batch=micro_batch,
            group_size=len(task.responses[0]),
            max_tokens=max(len(r) for each in task.responses for r in each),
            steps=steps + 1,
            lr=lr,
            grad_clip=1.0,
        )
        clock = _Clock(task)
        trainer = _trainer_class(trl)(
            clock,
            model=Qwen2_5_VLForConditionalGeneration.from_pretrained(model_folder, dtype="float32"),
            processing_class=AutoProcessor.from_pretrained(model_folder),
            args=arguments,
            reward_funcs=clock.rewards,
            train_dataset=_dataset(task),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_callback(clock))
        trainer.train()
    clock.check(steps + 1)
    return TrlTimes(
        version=trl.__version__,
        micro_batch=micro_batch,
        prepare_s=tuple(clock.prepare_s[1:]),
        step_s=tuple(clock.step_s[1:]),
    )


class _Clock:
    """The given responses in the order that TRL asks for them, and the times of what it does with them."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._batch: list[tuple[int, int]] = []
        self._step_started_s = 0.0
        self.inputs: list[Any] = []
        self.prepare_s: list[float] = []
        self.step_s: list[float] = []

    def begin_batch(self, prompts: Sequence[int]) -> None:
        """Note the prompts of a batch, each as often as it has responses."""
        seen: Counter[int] = Counter()
        self._batch = []
        for prompt in prompts:
            self._batch.append((prompt, seen[prompt]))
            seen[prompt] += 1

    def responses(self) -> list[list[int]]:
        """Of the batch."""
        return [self._task.responses[i][j].tolist() for i, j in self._batch]

    def rewards(self, **_: Any) -> list[float]:
        """Of the batch: a reward function as TRL calls it."""
        return [self._task.rewards[i][j] for i, j in self._batch]

    def begin_step(self) -> None:
        """TRL starts an optimizer step, whose batch it has not prepared yet."""
        self.prepare_s.append(0.0)
        self.step_s.append(0.0)
        self._step_started_s = time.perf_counter()

    def leave_out(self, seconds: float) -> None:
        """Time of the step that belongs to neither figure."""
        self._step_started_s += seconds

    def end_step(self) -> None:
        """TRL has updated the weights."""
        self.step_s[-1] = time.perf_counter() - self._step_started_s - self.prepare_s[-1]

    def check(self, steps: int) -> None:
        """Raise RuntimeError unless each step's loss saw each response once, with an image a response."""
        given = Counter(tuple(r.tolist()) for each in self._task.responses for r in each)
        trained: Counter[tuple[int, ...]] = Counter()
        images = 0
        for inputs in self.inputs:
            images += len(inputs["image_grid_thw"])
            for ids, mask in zip(inputs["completion_ids"], inputs["completion_mask"].bool(), strict=True):
                trained[tuple(ids[mask].tolist())] += 1
        if trained != Counter({row: count * steps for row, count in given.items()}):
            raise RuntimeError(
                f"TRL must have trained on the {given.total()} given responses in each of {steps} steps, "
                f"got {trained.total()} responses of {sum(len(row) * n for row, n in trained.items())} tokens"
            )
        if images != given.total() * steps:
            raise RuntimeError(f"TRL must have seen {given.total() * steps} images, got {images}")


def _trainer_class(trl: Any) -> Any:
    class GivenResponses(trl.GRPOTrainer):
        def __init__(self, clock: _Clock, **options: Any) -> None:
            self._clock = clock
            super().__init__(**options)

        def _prepare_inputs(self, generation_batch: Any) -> Any:
            # Called for each micro-batch; the first prepares them all.
            started_s = time.perf_counter()
            self._generate_s = 0.0
            inputs = super()._prepare_inputs(generation_batch)
            self._clock.leave_out(self._generate_s)
            self._clock.prepare_s[-1] += time.perf_counter() - started_s - self._generate_s
            self._clock.inputs.append(
                {name: inputs[name] for name in ("completion_ids", "completion_mask", "image_grid_thw")}
            )
            return inputs

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            self._clock.begin_batch([example["number"] for example in inputs])
            return super()._generate_and_score_completions(inputs)

        def _generate(self, prompts: Any) -> Any:
            started_s = time.perf_counter()
            result = super()._generate(prompts)
            self._generate_s = time.perf_counter() - started_s
            return result

        def _generate_single_turn(self, *_: Any, **__: Any) -> Any:
            return self._clock.responses(), None

    return GivenResponses


def _callback(clock: _Clock) -> Any:
    from transformers import TrainerCallback

    class Times(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.begin_step()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.end_step()

    return Times()


def _dataset(task: Task) -> Any:
    from datasets import Dataset

    rows = [
        {"number": number, "prompt": [{"role": "user", "content": text}], "image": decode_image(image)}
        for number, (text, image) in enumerate(task.prompts)
    ]
    return Dataset.from_list(rows)
