"""Shaping: from visual dependency to a factor on each token's advantage, one module per method.

interface   Shaper, Signals, Shaped: what a method declares, reads and returns
pgpo        weights by dependency with a threshold and conserved mass
none        weights 1: plain GRPO or DAPO
vppo        the two public formulas of VPPO, not a registered shaper
registry    a shaper by its name in the config
"""

from pgpo_async.algorithms.shaping.interface import (
    BaseShaper,
    ImageMasking,
    LossTerms,
    Need,
    Scope,
    Shaped,
    Shaper,
    Signals,
)
from pgpo_async.algorithms.shaping.none import NoneShaper
from pgpo_async.algorithms.shaping.pgpo import PgpoShaper, pgpo_weights
from pgpo_async.algorithms.shaping.registry import SHAPERS, make_shaper
from pgpo_async.algorithms.shaping.vppo import vppo_token_mask, vppo_trajectory_factors

__all__ = [
    "SHAPERS",
    "BaseShaper",
    "ImageMasking",
    "LossTerms",
    "Need",
    "NoneShaper",
    "PgpoShaper",
    "Scope",
    "Shaped",
    "Shaper",
    "Signals",
    "make_shaper",
    "pgpo_weights",
    "vppo_token_mask",
    "vppo_trajectory_factors",
]
