"""TRL's GRPO trainer in its fastest settings for small work on CPUs: no reference model, no old log-probs, no
checkpointing, no logging. Shared by the comparisons with it (`loop_trl`, `peer_trl`).
"""

import warnings
from typing import Any

from pgpo_async.contracts import ConfigError

MICRO_BATCHES = (256, 128, 64, 32, 16)
"""Sizes tried to find the quickest."""
TRIAL_STEPS = 2


def import_trl() -> Any:
    """Return the package. Raises ConfigError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the vLLM beside it, which is not used here
            import trl
    except ImportError as error:
        raise ConfigError(
            "--peer trl needs TRL: run with `uv run --group peers pgpo-async bench ... --peer trl`"
        ) from error
    from transformers.utils import logging

    logging.disable_progress_bar()  # of each loading of the model
    return trl


def fitting_micro_batches(num_responses: int) -> list[int]:
    """Return the sizes that cut a step's responses evenly; all of them at once if none does."""
    return [size for size in MICRO_BATCHES if num_responses % size == 0] or [num_responses]


def grpo_config(
    trl: Any,
    folder: str,
    *,
    num_responses: int,
    micro_batch: int,
    group_size: int,
    max_tokens: int,
    steps: int,
    lr: float,
    grad_clip: float,
    **sampling: float,
) -> Any:
    """Return TRL's arguments for `steps` steps of `num_responses` each, in micro-batches of that size."""
    rounds = num_responses // micro_batch
    return trl.GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=rounds,
        # One batch of responses an update: TRL then needs no old log-probs.
        steps_per_generation=rounds,
        num_generations=group_size,
        num_iterations=1,
        max_completion_length=max_tokens,
        max_steps=steps,
        learning_rate=lr,
        lr_scheduler_type="constant",
        max_grad_norm=grad_clip,
        beta=0.0,
        gradient_checkpointing=False,
        disable_dropout=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        shuffle_dataset=False,
        **sampling,
    )
