"""Shaping: from visual dependency to a factor on each token's advantage, one module per method.

interface   Shaper, Signals, Shaped: what a method declares, reads and returns
pgpo        weights by dependency with a threshold and conserved mass
none        weights 1: plain GRPO or DAPO
vppo        the most dependent tokens only, times a factor on each trajectory
papo        weights 1, and terms on the loss from a masked image
tor         the batch's most uncertain tokens, and at half weight its most perceptive
pepo        weights by nearness to the image in hidden space, gated by entropy
registry    a shaper by its name in the config
custom      a shaper of the user's own, by its module or file
shared      cleaning of signals, metrics of weights
names       the names that messages offer
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
from pgpo_async.algorithms.shaping.papo import PapoShaper
from pgpo_async.algorithms.shaping.pepo import PepoShaper, pepo_weights
from pgpo_async.algorithms.shaping.pgpo import PgpoShaper, pgpo_weights
from pgpo_async.algorithms.shaping.registry import SHAPERS, make_shaper
from pgpo_async.algorithms.shaping.tor import TorShaper, tor_weights
from pgpo_async.algorithms.shaping.vppo import VppoShaper, vppo_token_mask, vppo_trajectory_factors

__all__ = [
    "SHAPERS",
    "BaseShaper",
    "ImageMasking",
    "LossTerms",
    "Need",
    "NoneShaper",
    "PapoShaper",
    "PepoShaper",
    "PgpoShaper",
    "Scope",
    "Shaped",
    "Shaper",
    "Signals",
    "TorShaper",
    "VppoShaper",
    "make_shaper",
    "pepo_weights",
    "pgpo_weights",
    "tor_weights",
    "vppo_token_mask",
    "vppo_trajectory_factors",
]
