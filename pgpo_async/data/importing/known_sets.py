"""The data sets that `pgpo-async data import` knows, and which of them are benchmarks of a suite.

Owns names and places; what their rows mean is each set's own module. Read by the command and by the
evaluation.
"""

import difflib

from pgpo_async.contracts import ConfigError
from pgpo_async.data.importing import (
    dynamath,
    logicvista,
    mathverse,
    mathvision,
    mmk12,
    mmmu_pro,
    virl39k,
    we_math,
)
from pgpo_async.data.importing.layouts import CHAT_PACK, READY
from pgpo_async.data.importing.set_types import KnownSet

_VARIANTS = {f"sample_variant{n}": f"sample{n}" for n in range(1, dynamath.NUM_VARIANTS + 1)}

_ALL = (
    KnownSet(
        name="virl39k",
        title="ViRL39K",
        hub_name="PAPOGalaxy/PAPO_ViRL39K_train",
        split="train",
        layouts=(READY, virl39k.LAYOUT, CHAT_PACK),
    ),
    KnownSet(
        name="dynamath",
        title="DynaMath",
        hub_name="DynaMath/DynaMath_Sample",
        split="+".join(_VARIANTS),
        file_stems=_VARIANTS,
        layouts=(dynamath.LAYOUT, READY, CHAT_PACK),
        is_benchmark=True,
    ),
    KnownSet(
        name="geometry3k",
        title="Geometry3K",
        hub_name="hiyouga/geometry3k",
        split="test",
        layouts=(READY, CHAT_PACK),
        is_benchmark=True,
    ),
    KnownSet(
        name="mathverse",
        title="MathVerse",
        hub_name="AI4Math/MathVerse",
        subset="testmini",
        split="testmini",
        layouts=(mathverse.LAYOUT, READY, CHAT_PACK),
        is_benchmark=True,
    ),
    KnownSet(
        name="mathverse_v",
        title="MathVerse-V",
        hub_name="AI4Math/MathVerse",
        subset="testmini",
        split="testmini",
        layouts=(mathverse.VISION, READY, CHAT_PACK),
        is_benchmark=True,
    ),
    KnownSet(
        name="mathvision",
        title="MathVision",
        hub_name="MathLLMs/MathVision",
        split="test",
        layouts=(mathvision.LAYOUT, READY, CHAT_PACK),
        is_benchmark=True,
    ),
    KnownSet(
        name="mmk12",
        title="MMK12",
        hub_name="FanqingM/MMK12",
        split="test",
        layouts=(mmk12.LAYOUT, READY, CHAT_PACK),
        is_benchmark=True,
    ),
    KnownSet(
        name="logicvista",
        title="LogicVista",
        hub_name="lscpku/LogicVista",
        split="test",
        layouts=(logicvista.LAYOUT, logicvista.FIRST_RELEASE, READY, CHAT_PACK),
        is_benchmark=True,
    ),
    KnownSet(
        name="mmmu_pro",
        title="MMMU-Pro",
        hub_name="MMMU/MMMU_Pro",
        subset="vision",
        split="test",
        layouts=(mmmu_pro.STANDARD, mmmu_pro.VISION, READY, CHAT_PACK),
        is_benchmark=True,
    ),
    KnownSet(
        name="we_math",
        title="We-Math",
        hub_name="We-Math/We-Math",
        split="testmini",
        layouts=(we_math.LAYOUT, READY, CHAT_PACK),
    ),
)

KNOWN_SETS: dict[str, KnownSet] = {known.name: known for known in _ALL}
BENCHMARKS: dict[str, KnownSet] = {known.name: known for known in _ALL if known.is_benchmark}
"""The columns of the paper's tables, in their order."""
SUITES: dict[str, tuple[str, ...]] = {"pgpo": tuple(BENCHMARKS)}


def known_set(name: str) -> KnownSet:
    """Return the set of a name, however it is capitalized. Raises ConfigError with the nearest name."""
    plain = {_plain(known): known for known in KNOWN_SETS}
    if _plain(name) in plain:
        return KNOWN_SETS[plain[_plain(name)]]
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    hint = f": did you mean {plain[near[0]]!r}?" if near else ""
    raise ConfigError(f"a data set must be one of {', '.join(KNOWN_SETS)}, got {name!r}{hint}")


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
