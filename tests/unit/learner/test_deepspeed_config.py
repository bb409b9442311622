import pytest

from pgpo_async.config import RunConfig
from pgpo_async.learner.deepspeed_config import MAX_BUCKET_ELEMENTS, deepspeed_config


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_run_decides_stage_precision_and_clipping(stage, dtype):
    learner = {"zero_stage": stage, "replicas": 2, "optimizer": {"grad_clip": 0.7}}
    config = RunConfig.model_validate({"model": {"dtype": dtype}, "learner": learner})
    found = deepspeed_config(config, world_size=2, num_parameters=10**9, hidden_size=64)
    assert found["zero_optimization"]["stage"] == stage
    assert found["bf16"]["enabled"] == (dtype == "bfloat16")
    assert found["data_types"]["grad_accum_dtype"] == "fp32"
    assert found["gradient_clipping"] == 0.7
    assert found["train_batch_size"] == 2
    assert found["zero_optimization"]["reduce_bucket_size"] == MAX_BUCKET_ELEMENTS
    assert "optimizer" not in found
    assert "scheduler" not in found
