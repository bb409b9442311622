"""The sampled groups of a run as a token page.

Owns what a run folder tells of its tokens: the tokenizer that reads them, the version that trained on them,
and the model that measures their entropy now, which no sample holds. Called by `command`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgpo_async.config import load_config
from pgpo_async.config.files import read_file
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.report.run_files import JsonLines, as_count, as_mapping
from pgpo_async.report.tokens.pieces import TokenTexts
from pgpo_async.report.tokens.samples import Sample, Samples
from pgpo_async.report.tokens.scoring import TokenMeter, processor_of
from pgpo_async.report.tokens.values import Rows, group_values
from pgpo_async.report.tokens.view import GroupView, TokensView

MEASURE_WITH, NO_ENTROPY = "--measure-with", "--no-entropy"


@dataclass(frozen=True, kw_only=True, slots=True)
class EntropyRequest:
    """Whether entropy is measured; `model` is one in place of the run's own."""

    wanted: bool = True
    model: str | None = None
    device: str = "cpu"


def view_of_run(
    folder: Path, samples: Samples, request: EntropyRequest, say: Callable[[str], None]
) -> TokensView:
    """Measure what was read of a run; `say` is told what takes a while. Raises ConfigError."""
    config, notes = _config(folder)
    notes = [*samples.notes, *notes]
    texts, entropies, measured = _measured(folder, request, config, samples.groups, say)
    versions = _versions(folder)
    groups = []
    for sample, entropy in zip(samples.groups, entropies, strict=True):
        values = group_values(
            sample.scored,
            config.algorithm,
            version=versions.get(sample.step, sample.step - 1),
            entropy=entropy,
            missing={"entropy": measured} if entropy is None else None,
        )
        groups.append(GroupView.of(sample.scored, values, texts, step=sample.step))
    notes += _strange_texts(samples.groups, texts)
    algorithm = config.algorithm
    facts = [
        ("model", config.model.path),
        ("method", algorithm.shaper.name),
        ("advantage", algorithm.advantage),
        ("entropy", measured),
    ]
    return TokensView(title=f"Tokens of {folder.resolve().name}", facts=facts, notes=notes, groups=groups)


def _config(folder: Path) -> tuple[RunConfig, list[str]]:
    """The run's config; of one that this version cannot read its model, and the defaults for the rest."""
    path = folder / "config.yaml"
    try:
        return load_config(path), []
    except ConfigError as error:
        why = " ".join(error.issues[0].split())
    default = RunConfig()
    model = as_mapping(_written(path).get("model")).get("path")
    if isinstance(model, str):
        default = default.model_copy(update={"model": default.model.model_copy(update={"path": model})})
    return default, [f"The run's config could not be read, its defaults are taken instead: {why}"]


def _written(path: Path) -> Mapping[str, Any]:
    try:
        return as_mapping(read_file(path).value)
    except ConfigError:
        return {}


def _measured(
    folder: Path,
    request: EntropyRequest,
    config: RunConfig,
    samples: Sequence[Sample],
    say: Callable[[str], None],
) -> tuple[TokenTexts, Sequence[Rows | None], str]:
    """Texts, the entropy of each sample, and in words who measured it or why nobody did."""
    nothing: list[Rows | None] = [None] * len(samples)
    trained = folder / "model"
    own = str(trained) if (trained / "config.json").is_file() else None
    path = request.model or own
    option = MEASURE_WITH if request.model else "model.path" if own is None else own
    if not request.wanted or path is None:
        texts = TokenTexts(processor_of(path or config.model.path, config, option=option).tokenizer)
        untrained = f"the run has no trained model yet ({MEASURE_WITH} MODEL takes another)"
        return texts, nothing, f"not measured: {untrained if request.wanted else NO_ENTROPY}"
    say(f"measuring entropy with {path} on {request.device}")
    meter = TokenMeter(path, config, request.device, option=option)
    texts = TokenTexts(meter.processor.tokenizer)
    try:
        entropies = meter.entropy([sample.scored.group for sample in samples])
    except ValueError as error:
        return texts, nothing, f"not measured: {path} does not fit the samples: {error}"
    model = request.model or "the final weights"
    return texts, entropies, f"measured now with {model}, not when it was sampled"


def _versions(folder: Path) -> dict[int, int]:
    """The version that each step began with, as far as it is told."""
    found = {}
    for row in JsonLines(folder / "metrics.jsonl"):
        step, version = as_count(row.get("step")), as_count(row.get("version"))
        if step is not None and version:
            found[step] = version - 1
    return found


def _strange_texts(samples: Sequence[Sample], texts: TokenTexts) -> list[str]:
    rollouts = [rollout for sample in samples for rollout in sample.scored.group.rollouts]
    strange = sum(
        not texts.join_to(rollout.response_token_ids.tolist(), rollout.text) for rollout in rollouts
    )
    if not strange:
        return []
    return [
        f"The tokens of {strange} of {len(rollouts)} responses do not join to the response's text: was "
        "another tokenizer used?"
    ]
