"""The demo's tasks: which data, which words, which noise and which schedule make each tiny model.

Owns the table of tasks and the warm start's settings. Light: neither torch nor transformers is imported.
Called by `demo.build` and its neighbours, by `data` and by `policy`.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from pgpo_async.demo import objects, shapes
from pgpo_async.demo.scenes import DemoExample, Split


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """How a warm start runs: clean answers until the model sees, then noisy ones until it is unsure.

    Accuracies are those of sampled answers. `accuracy_window` ends the noisy phase, `shipped_window` judges
    the result on fresh prompts. `noise` is used above the window, `gentle_noise` after an overshoot.
    """

    batch_size: int
    clean_accuracy: float
    peak_learning_rate: float
    decay_steps: int
    clean_steps_per_check: int
    max_clean_checks: int
    noisy_learning_rate: float
    noise: float
    gentle_noise: float
    noisy_steps_per_check: int
    max_noisy_checks: int
    accuracy_window: tuple[float, float]
    shipped_window: tuple[float, float]
    warm_up_steps: int = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoTask:
    """One data set with the model that has half learnt it.

    `folder` holds the checkpoint, beside this file. `example` gives the `index`-th example of (split, seed);
    `noisy_response` gives a response in which a share of what is seen is random; `vocabulary_texts` hold all
    words of prompts and responses.
    """

    name: str
    folder: str
    example: Callable[[Split, int, int], DemoExample]
    noisy_response: Callable[[DemoExample, float, random.Random], str]
    vocabulary_texts: Callable[[], list[str]]
    vocabulary_size: int
    max_new_tokens: int
    schedule: Schedule


SHAPES_TASK = DemoTask(
    name="shapes",
    folder="tiny_vlm",
    example=shapes.shapes_example,
    noisy_response=shapes.noisy_response,
    vocabulary_texts=shapes.vocabulary_texts,
    vocabulary_size=400,
    max_new_tokens=40,
    schedule=Schedule(
        batch_size=64,
        clean_accuracy=0.99,
        peak_learning_rate=2e-3,
        decay_steps=800,
        clean_steps_per_check=50,
        max_clean_checks=30,
        noisy_learning_rate=3e-4,
        # With a share p of random answers among k plausible ones a calibrated model is right with
        # 1 - p + p / k. k is 3 or 4, so 0.8 heads for 0.42, and 0.4 for 0.71.
        noise=0.8,
        gentle_noise=0.4,
        noisy_steps_per_check=20,
        max_noisy_checks=40,
        accuracy_window=(0.41, 0.47),
        shipped_window=(0.38, 0.50),
    ),
)
OBJECTS_TASK = DemoTask(
    name="objects",
    folder="tiny_vlm_objects",
    example=objects.objects_example,
    noisy_response=objects.noisy_response,
    vocabulary_texts=objects.vocabulary_texts,
    vocabulary_size=640,
    max_new_tokens=128,
    schedule=Schedule(
        batch_size=32,
        clean_accuracy=0.97,
        peak_learning_rate=2e-3,
        decay_steps=1200,
        clean_steps_per_check=100,
        max_clean_checks=30,
        noisy_learning_rate=3e-4,
        # A word stays right with 1 - p + p / k; over the counts that are asked a calibrated model is then
        # right with 0.39 at p = 0.5 and with 0.56 at p = 0.3.
        noise=0.5,
        gentle_noise=0.3,
        noisy_steps_per_check=20,
        max_noisy_checks=40,
        accuracy_window=(0.38, 0.46),
        shipped_window=(0.35, 0.50),
    ),
)
TASKS = {task.name: task for task in (SHAPES_TASK, OBJECTS_TASK)}
