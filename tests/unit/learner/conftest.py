import numpy as np
import pytest
import torch

from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, ScoredGroup, VersionSpan


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_group():
    """make_group(lengths, rewards, ...): a scored group with text only and seeded numbers."""

    def make(lengths, rewards, *, name="g", images=(), metrics=None, seed=0):
        rng = np.random.default_rng(seed)

        def rows():
            return [rng.normal(-2, 0.3, n).astype(np.float32) for n in lengths]

        rollouts = tuple(
            Rollout(
                response_token_ids=np.arange(3, 3 + n, dtype=np.int32),
                behaviour_logprobs=row,
                version_spans=(VersionSpan(version=0, start=0, end=n),),
                finish_reason="length" if n > 4 else "stop",
                text="",
                reward=reward,
            )
            for n, row, reward in zip(lengths, rows(), rewards, strict=True)
        )
        group = RolloutGroup(
            group_id=name,
            prompt=Prompt(prompt_id=name, question="", answer="", images=images),
            prompt_token_ids=np.array([1, 2], np.int32),
            rollouts=rollouts,
        )
        return ScoredGroup(
            group=group,
            proximal_logprobs=tuple(rows()),
            dependency=tuple(rng.random(n).astype(np.float32) for n in lengths),
            token_weights=tuple(2 * rng.random(n).astype(np.float32) for n in lengths),
            scorer_version=0,
            metrics=metrics or {},
        )

    return make
