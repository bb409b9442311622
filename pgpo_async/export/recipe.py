"""How a model was trained, in rows of a name and a value: from the run's config and its summary.

Owns which settings matter to who reads a card. Called by `card`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from pgpo_async.config.shapers import ShaperConfig
from pgpo_async.export.published import published
from pgpo_async.export.source import Source
from pgpo_async.report.formats import count
from pgpo_async.report.headline import lag_seen
from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_files import as_count, as_mapping

Row = tuple[str, str]

METHODS = {
    "pgpo": "PGPO, Perception-Grounded Policy Optimization (arXiv 2604.01840)",
    "vppo": "VPPO (arXiv 2510.09285)",
    "papo": "PAPO (arXiv 2507.06448)",
    "tor": "TOR (arXiv 2603.25077)",
    "pepo": "PEPO (arXiv 2603.22847)",
    "none": "GRPO / DAPO, without token weights",
}
SETTINGS = (
    ("advantage", "algorithm.advantage"),
    ("ratio clipped below 1 -", "algorithm.clip_low"),
    ("ratio clipped above 1 +", "algorithm.clip_high"),
    ("dual clip", "algorithm.dual_clip"),
    ("importance weights", "algorithm.is_mode"),
    ("their cap", "algorithm.is_cap"),
    ("loss", "algorithm.loss"),
    ("KL coefficient", "algorithm.kl_coef"),
    ("responses a prompt", "generation.group_size"),
    ("longest response, tokens", "generation.max_response_tokens"),
    ("longest prompt, tokens", "data.max_prompt_tokens"),
    ("sampling temperature", "generation.temperature"),
    ("sampling top-p", "generation.top_p"),
    ("prompts a step", "train.groups_per_step"),
    ("learning rate (AdamW)", "learner.optimizer.lr"),
    ("its schedule", "learner.optimizer.schedule"),
    ("its warm-up, steps", "learner.optimizer.warmup_steps"),
    ("betas", "learner.optimizer.betas"),
    ("weight decay", "learner.optimizer.weight_decay"),
    ("gradient clipped at", "learner.optimizer.grad_clip"),
    ("precision", "model.dtype"),
    ("vision tower trained", "model.train_vision_tower"),
    ("smallest image, pixels", "model.min_pixels"),
    ("largest image, pixels", "model.max_pixels"),
    ("mode", "mode"),
    ("learner ranks", "learner.replicas"),
    ("ZeRO stage", "learner.zero_stage"),
    ("seed", "seed"),
    ("seed of the data's order", "data.seed"),
)
_ONLY_IF_SET = frozenset({"model.min_pixels", "model.max_pixels"})


def recipe_rows(source: Source) -> Iterator[Row]:
    """Iterate what was done: method, steps, settings. A setting that the config does not have is left out."""
    run = source.run
    yield "method", method_of(run)
    for name, value in shaper_parameters(run).items():
        yield f"its {name}", published(value)
    yield "steps", _steps(source)
    if not run.settings:  # the config could not be read
        return
    for name, path in SETTINGS:
        value = run.setting(path)
        section, _, key = path.rpartition(".")
        known = key in as_mapping(run.setting(section)) if section else key in run.settings
        if path == "model.train_vision_tower" and source.lora_rank:
            value = False
        if known and not (value is None and path in _ONLY_IF_SET):
            yield name, published(value)
    yield from _adapters(source)
    if run.max_lag is not None:
        yield "lag, steps", f"{count(lag_seen(run))} of {run.max_lag} allowed"
    yield "groups without signal", _filter(run)
    yield "reward", _reward(run)
    yield "training data", published(run.setting("data.source") or run.setting("data.sources"))


def version_rows(run: RunData) -> Iterator[Row]:
    """Iterate the packages that the run was made with."""
    for name, version in as_mapping(run.summary.get("versions")).items():
        yield published(name), published(version)


def method_of(run: RunData) -> str:
    """Return the method in words."""
    name = run.setting("algorithm.shaper.name")
    return "a method that its config does not name" if name is None else METHODS.get(name, published(name))


def shaper_parameters(run: RunData) -> Mapping[str, Any]:
    """Return the method's parameters, its defaults included where this version knows them."""
    written = as_mapping(run.setting("algorithm.shaper"))
    if "name" not in written:
        return {}
    try:
        return ShaperConfig.model_validate(written).parameters()
    except ValidationError:
        return as_mapping(written.get("params"))


def _adapters(source: Source) -> Iterator[Row]:
    if source.lora_rank:
        layers = source.run.setting("model.lora.target_modules") or ()
        alpha = source.run.setting("model.lora.alpha")
        yield "low-rank adapters (LoRA), rank", published(source.lora_rank)
        yield "their alpha", published(2 * source.lora_rank if alpha is None else alpha)
        yield "their layers", published(", ".join(layers))


def _steps(source: Source) -> str:
    planned = as_count(source.run.setting("train.num_steps"))
    done = f"{source.num_steps:,}"
    return done if planned is None or planned == source.num_steps else f"{done} of {planned:,} planned"


def _filter(run: RunData) -> str:
    settings = as_mapping(run.setting("algorithm.filter"))
    if not settings.get("enabled"):
        return "trained on"
    low, high, key = (published(settings.get(name)) for name in ("low", "high", "key"))
    return f"left out: mean {key} must lie between {low} and {high}"


def _reward(run: RunData) -> str:
    settings = as_mapping(run.setting("reward"))
    if settings.get("function") is not None:
        return published(settings["function"])
    accuracy, form = (published(settings.get(f"{name}_weight")) for name in ("accuracy", "format"))
    return f"{accuracy} x accuracy + {form} x format"
