"""A model that measures tokens: dependency, weights and entropy, with the passes of a run's scorer.

Owns loading it with words for what is wrong. The passes are `policy.passes`', what they tell of a group is
`policy.signals`', as in a run (DESIGN 5.4: all passes on one set of weights). Called by `run` and `model`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError

from pgpo_async.algorithms.shaping import make_shaper
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, RolloutGroup, ScoredGroup
from pgpo_async.policy.inputs import Collator, prompt_group
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model_path import resolve_model_path
from pgpo_async.policy.passes import GroupScores, Wanted, score_groups
from pgpo_async.policy.signals import scored_group
from pgpo_async.report.tokens.question import told_of
from pgpo_async.report.tokens.values import Rows

HUB_TIMEOUT_S = 10.0
PROGRESS = 1.0
"""Of training, for a method that fades in: shown is what it does at the end."""


class TokenMeter:
    """One model with its processor, on one device; `config` says how it is run."""

    def __init__(self, path: str, config: RunConfig, device: str, *, option: str) -> None:
        """Raises ConfigError, with the option's name, if it cannot be loaded."""
        transformers.utils.logging.disable_progress_bar()
        self.config = config
        self.device = device
        self.processor = processor_of(path, config, option=option)
        with told_of(option):
            self.policy = load_policy(
                reachable(path),
                dtype=config.model.dtype,
                device=device,
                train_vision_tower=False,
                attention=config.model.attention,
                trust_remote_code=config.model.trust_remote_code,
            )
        self._collate = Collator(self.processor, self.policy.config)

    def entropy(self, groups: Sequence[RolloutGroup]) -> list[Rows]:
        """The entropy of each token, nats. Raises ValueError if a group does not fit the model."""
        wanted = Wanted(entropy=True)
        return [_rows(scores.entropy) for scores in self._passes(groups, wanted)]

    def score(self, group: RolloutGroup) -> tuple[ScoredGroup, Rows]:
        """The group as a scorer gives it back, and its entropy. The shaper sees this group alone.

        Raises ValueError if the group does not fit the model.
        """
        algorithm = self.config.algorithm
        shaper = make_shaper(algorithm.shaper.name, **algorithm.shaper.parameters())
        exact = algorithm.dependency.estimator == "exact"
        wanted = Wanted.by(shaper, exact=exact, measure=True, seed=self.config.seed)
        if not wanted.entropy:
            wanted = replace(wanted, entropy=True)
        (scores,) = self._passes([group], wanted)
        scored = scored_group(group, scores, shaper, version=0, progress=PROGRESS, alone=True)
        # A method may read the entropy of the likeliest tokens only; shown is that of all.
        entropy = _rows(scores.entropy) if wanted.entropy_top_p == 1 else self.entropy([group])[0]
        return scored, entropy

    def _passes(self, groups: Sequence[RolloutGroup], wanted: Wanted) -> list[GroupScores]:
        return score_groups(
            self.policy,
            self._collate,
            [prompt_group(group) for group in groups],
            pass_tokens=self.config.scorer.pass_tokens,
            passes=wanted,
            temperature=self.config.generation.temperature,
        )


def processor_of(path: str, config: RunConfig, *, option: str) -> Any:
    """The processor of a model, with the image limits of a config. Raises ConfigError."""
    model = config.model
    with told_of(option):
        return load_processor(
            reachable(path),
            min_pixels=model.min_pixels,
            max_pixels=model.max_pixels,
            trust_remote_code=model.trust_remote_code,
        )


def reachable(path: str) -> str:
    """A model's path; for a hub name the cached copy where the hub does not answer. Raises ConfigError.

    Asked first, once: transformers would ask a hub that does not answer for minutes, file by file.
    """
    resolved = resolve_model_path(path)
    if Path(resolved).is_dir():
        return resolved
    try:
        HfApi().model_info(resolved, timeout=HUB_TIMEOUT_S)
    except RepositoryNotFoundError as error:  # a gated one, too
        raise ConfigError(f"model.path must name a model that the hub gives, got {path!r}: {error}") from None
    except Exception as error:  # whatever its client raises for a network that is not there
        try:
            return snapshot_download(resolved, local_files_only=True)
        except OSError:
            raise ConfigError(
                f"model.path must be a folder or a hub name that can be reached, got {path!r}, which is not "
                f"in the hub's cache: {error}"
            ) from None
    return resolved


def _rows(rows: Rows | None) -> Rows:
    assert rows is not None, "the pass was asked for entropy"
    return rows
