"""The model of one scorer: the passes that its shaper needs, and the weights it has taken.

Sighted log-probs are the proximal policy of the decoupled loss; sighted against blind is the visual
dependency S_t. All passes run on one set of weights, never on vLLM's numbers (DESIGN 5.4), but that of the
reference KL. No Ray: `scorer`, which watches the pipe, makes one in `start`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from pgpo_async.actors.mismatch import MismatchMeter
from pgpo_async.actors.store_client import check_known
from pgpo_async.algorithms.shaping import make_shaper
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import RolloutGroup, ScoredGroup, WeightManifest
from pgpo_async.policy.inputs import Collator, prompt_group
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.model_path import resolve_model_path
from pgpo_async.policy.passes import GroupScores, Wanted, score_groups
from pgpo_async.policy.signals import scored_group
from pgpo_async.policy.weight_files import read_version


class ScoringModel:
    """A policy (and its reference, if the loss asks for one) that scores groups."""

    def __init__(self, config: RunConfig, device: str) -> None:
        self._config = config
        self._device = device
        if config.scorer.num_threads is not None:
            torch.set_num_threads(config.scorer.num_threads)
        model = config.model
        path = resolve_model_path(model.path)
        processor = load_processor(
            path,
            min_pixels=model.min_pixels,
            max_pixels=model.max_pixels,
            trust_remote_code=model.trust_remote_code,
        )
        self._policy = self._load_policy(path)
        # What the run started from; it never loads a version. Under adapters the policy itself still has it.
        self._needs_reference = config.algorithm.kl_coef > 0
        own = self._needs_reference and not config.model.lora.rank
        self._reference = self._load_policy(path) if own else None
        self._collate = Collator(processor, self._policy.config)
        self._mismatch = MismatchMeter()
        self._shaper = make_shaper(config.algorithm.shaper.name, **config.algorithm.shaper.parameters())
        self._wanted = Wanted.by(
            self._shaper,
            exact=config.algorithm.dependency.estimator == "exact",
            measure=config.algorithm.dependency.measure == "always",
            seed=config.seed,
        )

    def score(self, groups: Sequence[RolloutGroup], version: int) -> list[ScoredGroup]:
        """Score groups in shared passes, with the weights loaded now, which are those of `version`."""
        results = self._passes(self._policy, groups, self._wanted)
        rows: list[GroupScores | None] = [None] * len(groups)
        if self._reference is not None:
            rows = list(self._passes(self._reference, groups, Wanted()))
        elif self._needs_reference:
            with self._policy.without_adapters():
                rows = list(self._passes(self._policy, groups, Wanted()))
        self._mismatch.add(groups, [row for result in results for row in result.sighted], version)
        return [
            scored_group(
                group,
                scores,
                self._shaper,
                version=version,
                progress=min(1.0, version / self._config.train.num_steps),
                reference=None if reference is None else reference.sighted,
            )
            for group, scores, reference in zip(groups, results, rows, strict=True)
        ]

    def take(self, folder: Path, manifest: WeightManifest) -> None:
        """Load a staged version. Raises WeightError if it holds what this model does not."""
        own = dict(self._policy.published_parameters())
        check_known(manifest, set(own))
        with torch.no_grad():
            for name, tensor in read_version(folder):
                own[name].copy_(tensor)

    def mismatch(self) -> dict[str, float]:
        """Sum and number of tokens of the mismatch KL so far."""
        return self._mismatch.totals()

    def _load_policy(self, path: str) -> PolicyModel:
        model = self._config.model
        return load_policy(
            path,
            dtype=model.dtype,
            device=self._device,
            train_vision_tower=False,
            attention=model.attention,
            trust_remote_code=model.trust_remote_code,
            lora=model.lora,
        )

    def _passes(
        self, policy: PolicyModel, groups: Sequence[RolloutGroup], wanted: Wanted
    ) -> list[GroupScores]:
        return score_groups(
            policy,
            self._collate,
            [prompt_group(group) for group in groups],
            pass_tokens=self._config.scorer.pass_tokens,
            passes=wanted,
            temperature=self._config.generation.temperature,
        )
