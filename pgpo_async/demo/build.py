"""Rebuild a shipped tiny model: `python -m pgpo_async.demo.build [--task NAME] [--output DIR] [--seed N]`.

Owns the order of the build; the task owns the schedule and the accuracy window, its neighbours the rest.
Takes about five minutes on two idle cores for shapes, about twelve for objects.
The seed decides the result, and in the last digits the machine.
"""

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch

from pgpo_async.demo.architecture import build_model
from pgpo_async.demo.sampling import SampledAccuracy, sampled_accuracy
from pgpo_async.demo.task import SHAPES_TASK, TASKS, DemoTask
from pgpo_async.demo.tiny_vlm import default_output
from pgpo_async.demo.tokenizer import build_processor
from pgpo_async.demo.warm_start import WarmStart

NUM_THREADS = 2


def build(task: DemoTask, output: Path, *, seed: int) -> dict[str, Any]:
    """Make a task's whole checkpoint folder; returns what BUILD.json records.

    Raises RuntimeError if the model does not learn to see, or its accuracy does not settle in the window.
    """
    torch.set_num_threads(NUM_THREADS)
    started = time.monotonic()
    processor = build_processor(task)
    model = build_model(processor.tokenizer, seed=seed)
    warm_start = WarmStart(model, processor, task, seed=seed)
    clean = learn_clean_answers(warm_start, model, processor, task, seed=seed)
    clean_steps = warm_start.num_steps
    rounded = unlearn_until_unsure(warm_start, model, processor, task, seed=seed)
    final = sampled_accuracy(
        rounded.float(), processor, task, num_prompts=600, samples_per_prompt=2, seed=seed + 1
    )
    low, high = task.schedule.shipped_window
    if not low <= final.accuracy <= high:
        raise RuntimeError(f"accuracy on fresh prompts must be in [{low}, {high}], got {final.accuracy:.3f}")
    record = {
        "seed": seed,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "clean_steps": clean_steps,
        "noisy_steps": warm_start.num_steps - clean_steps,
        "examples_per_step": task.schedule.batch_size,
        "clean_accuracy": round(clean.accuracy, 4),
        "sampled_accuracy": round(final.accuracy, 4),
        "format_rate": round(final.format_rate, 4),
        "num_measured_samples": final.num_samples,
        "response_tokens_median": final.median_tokens,
        "response_tokens_max": final.max_tokens,
        "build_s": round(time.monotonic() - started, 1),
    }
    # A used tokenizer would write its last padding into tokenizer.json; a fresh one is equal but for that.
    save(output, rounded, build_processor(task), record)
    return record


def learn_clean_answers(
    warm_start: WarmStart, model: Any, processor: Any, task: DemoTask, *, seed: int
) -> SampledAccuracy:
    """Train on right answers until almost every sampled answer is right; returns the last measurement."""
    schedule = task.schedule

    def learning_rate(step_in_call: int) -> float:
        step = start + step_in_call
        warm_up = min(1.0, (step + 1) / schedule.warm_up_steps)
        return schedule.peak_learning_rate * warm_up * max(0.1, 1 - step / schedule.decay_steps)

    for _ in range(schedule.max_clean_checks):
        start = warm_start.num_steps
        loss = warm_start.train(schedule.clean_steps_per_check, learning_rates=learning_rate, noise=0.0)
        measured = sampled_accuracy(model, processor, task, num_prompts=240, samples_per_prompt=1, seed=seed)
        _report("clean", warm_start, loss, measured)
        if measured.accuracy >= schedule.clean_accuracy:
            return measured
    raise RuntimeError(
        f"clean accuracy must reach {schedule.clean_accuracy}, got {measured.accuracy:.3f}: try another seed"
    )


def unlearn_until_unsure(
    warm_start: WarmStart, model: Any, processor: Any, task: DemoTask, *, seed: int
) -> Any:
    """Train on noisy answers until the sampled accuracy lies in the window; returns the bfloat16 model.

    What is measured is what is shipped: the weights rounded to bfloat16.
    """
    schedule = task.schedule
    low, high = schedule.accuracy_window
    noise = schedule.noise
    for _ in range(schedule.max_noisy_checks):
        loss = warm_start.train(
            schedule.noisy_steps_per_check,
            learning_rates=lambda _: schedule.noisy_learning_rate,
            noise=noise,
        )
        rounded = copy.deepcopy(model).to(torch.bfloat16)
        measured = sampled_accuracy(
            copy.deepcopy(rounded).float(), processor, task, num_prompts=240, samples_per_prompt=2, seed=seed
        )
        _report(f"noise {noise}", warm_start, loss, measured)
        if low <= measured.accuracy <= high:
            return rounded
        noise = schedule.noise if measured.accuracy > high else schedule.gentle_noise
    raise RuntimeError(
        f"accuracy must settle in [{low}, {high}], got {measured.accuracy:.3f}: try another seed"
    )


def save(output: Path, model: Any, processor: Any, record: dict[str, Any]) -> None:
    """Write what `from_pretrained` and vLLM load, and BUILD.json beside it."""
    output.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(output)
    processor.save_pretrained(output)
    # safetensors writes with mode 0600, which other users of an installed package could not read.
    (output / "model.safetensors").chmod(0o644)
    (output / "BUILD.json").write_text(json.dumps(record, indent=2) + "\n")


def _report(phase: str, warm_start: WarmStart, loss: float, measured: SampledAccuracy) -> None:
    print(
        f"step {warm_start.num_steps:5d}  {phase:9s}  loss {loss:.4f}  accuracy {measured.accuracy:.3f}"
        f"  format {measured.format_rate:.3f}",
        flush=True,
    )


def main() -> None:
    """Parse the command line, build, print the record."""
    parser = argparse.ArgumentParser(description="Train and save the demo's tiny Qwen2.5-VL.")
    parser.add_argument("--task", choices=sorted(TASKS), default=SHAPES_TASK.name)
    parser.add_argument("--output", type=Path, help="folder to write (default: shipped)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    task = TASKS[arguments.task]
    output = arguments.output or default_output(task)
    print(json.dumps(build(task, output, seed=arguments.seed), indent=2))


if __name__ == "__main__":
    main()
