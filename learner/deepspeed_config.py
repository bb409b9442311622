"""`RunConfig` to DeepSpeed's configuration. Pure: a dictionary, nothing imported. Called by `engine`.

What is not here on purpose: the optimizer (a torch AdamW is handed over, which needs no compiler), the
learning rate (`schedule`), micro-batch counts (the engine sets the accumulation boundary, since they vary).
"""

from typing import Any

from pgpo_async.config import RunConfig

MAX_BUCKET_ELEMENTS = 50_000_000
"""Gradients reduced at once; DeepSpeed's own 500 M would hold 2 GB a rank."""


def deepspeed_config(
    config: RunConfig, *, world_size: int, num_parameters: int, hidden_size: int
) -> dict[str, Any]:
    """The configuration for `deepspeed.initialize`."""
    bucket = max(1, min(num_parameters, MAX_BUCKET_ELEMENTS))
    offload: dict[str, Any] = {}
    if config.learner.offload_optimizer:
        offload = {"offload_optimizer": {"device": "cpu", "pin_memory": config.learner.gpus > 0}}
    return {
        # Our torch AdamW works on the host too; DeepSpeed's own would have to be compiled.
        "zero_force_ds_cpu_optimizer": False,
        # One "sample" a rank and micro-batch: DeepSpeed only checks that these three agree.
        "train_batch_size": world_size,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.learner.optimizer.grad_clip,
        "bf16": {"enabled": config.model.dtype == "bfloat16", "check_grad_overflow": True},
        # Sums of micro-batches in bfloat16 would lose the small ones.
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {
            "stage": config.learner.zero_stage,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
            "stage3_prefetch_bucket_size": bucket,
            # Norms and biases stay whole on every rank; weight matrices are divided even in a small model.
            "stage3_param_persistence_threshold": 10 * hidden_size,
            "overlap_comm": config.learner.gpus > 0,
            **offload,
        },
        "steps_per_print": None,
        "wall_clock_breakdown": False,
    }
