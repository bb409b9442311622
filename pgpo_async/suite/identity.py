"""What an evaluation's answers depend on: an evaluation goes on only where all of it is the same.

Written as `settings.json` into its folder, and compared by whoever would go on or compare with it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.suite.benchmarks import Benchmark

NAME = "settings.json"


def identity(config: RunConfig, weights: str, benchmarks: Sequence[Benchmark], suite: str) -> dict[str, Any]:
    """Return the settings; values of JSON."""
    evaluation, model, data = config.evaluation, config.model, config.data
    return {
        "suite": suite,
        "benchmarks": {b.name: {"source": b.where, "num_prompts": b.num_prompts} for b in benchmarks},
        "weights": weights,
        "samples_per_prompt": evaluation.samples_per_prompt,
        "temperature": evaluation.temperature,
        "top_p": evaluation.top_p,
        "max_response_tokens": evaluation.max_response_tokens or config.generation.max_response_tokens,
        "seed": evaluation.seed,
        "data.seed": data.seed,
        "system_prompt": data.system_prompt,
        "instruction": data.instruction,
        "max_prompt_tokens": data.max_prompt_tokens,
        "dtype": model.dtype,
        "min_pixels": model.min_pixels,
        "max_pixels": model.max_pixels,
        "reward.function": config.reward.function,
        "reward.tolerance": config.reward.tolerance,
    }


def read_settings(folder: Path) -> dict[str, Any] | None:
    """Return an evaluation's settings, None where there are none. Raises ConfigError if unreadable."""
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} must be readable: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must hold an object, got {type(found).__name__}")
    return found


def check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ConfigError with each setting in which an evaluation that is there differs from this one."""
    different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if different:
        raise ConfigError(
            [
                f"{folder} holds an evaluation with another {name}: {_short(before.get(name))}, now "
                f"{_short(now.get(name))}"
                for name in different
            ]
            + ["--force begins it anew, --output writes another one"]
        )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."
