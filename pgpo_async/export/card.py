"""The model card, `README.md`: front matter for the Hub, and what a reader needs to judge and to load it.

Owns the text. What is of the run's goes through `published`, and the whole through `masked_text`: a card is
made to be shown. Called by `command`.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from pgpo_async import __version__
from pgpo_async.config.masking import masked_text
from pgpo_async.contracts.weights import ADAPTER_FOLDER
from pgpo_async.export.base_model import BaseModel
from pgpo_async.export.model_files import Weights
from pgpo_async.export.published import published
from pgpo_async.export.recipe import method_of, recipe_rows, version_rows
from pgpo_async.export.results import accuracy_rows, curve_rows, num_averaged
from pgpo_async.export.source import Source
from pgpo_async.export.usage import IMAGE, transformers_program, vllm_program
from pgpo_async.report.formats import plural, size
from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_files import as_count, as_mapping

TAGS = ("pgpo-async", "reinforcement-learning", "rlvr", "vision-language")


def model_card(source: Source, base: BaseModel, weights: Weights) -> str:
    """Return the text of `README.md`."""
    run = source.run
    sections = [
        f"# {published(run.name)}",
        _about(source, base, weights),
        f"## Results\n\n{_results(source)}",
        f"## Recipe\n\n{_table(('setting', 'value'), recipe_rows(source))}",
        f"## Use\n\n{_use(run)}",
        f"## Origin\n\n{_origin(source)}",
    ]
    return masked_text(f"---\n{_front_matter(source, base)}---\n\n" + "\n\n".join(sections) + "\n")


def _front_matter(source: Source, base: BaseModel) -> str:
    run = source.run
    values: dict[str, Any] = {**base.licence}
    if base.hub_name is not None:  # the Hub refuses any other name
        values["base_model"] = base.hub_name
    values |= {"library_name": "transformers", "pipeline_tag": "image-text-to-text"}
    values["tags"] = [*TAGS, *_method_tag(run), *(["lora"] if source.lora_rank else [])]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _method_tag(run: RunData) -> list[str]:
    method = run.setting("algorithm.shaper.name")
    if method is None:
        return []
    # Of one's own shaper the class alone: the rest has characters that no tag may have.
    return ["grpo" if method == "none" else published(method).rpartition(":")[2].lower()]


def _about(source: Source, base: BaseModel, weights: Weights) -> str:
    what = "" if source.checkpoint is None else f", at its checkpoint `{source.checkpoint.tag}`"
    terms = (
        f"Its licence, as its card states it: {', '.join(base.licence.values())}."
        if base.licence
        else "Its files state no licence that could be found: ask for it before you share this model."
    )
    return (
        f"`{base.name}` after {source.num_steps:,} steps of reinforcement learning with verifiable rewards, "
        f"by {method_of(source.run)}{what}. {terms}\n\n"
        f"{weights.num_parameters:,} parameters in {', '.join(weights.dtypes)}, {size(weights.num_bytes)}."
        f"{_adapter(source)}"
    )


def _adapter(source: Source) -> str:
    if not source.lora_rank:
        return ""
    return (
        f" Only low-rank adapters (LoRA, rank {source.lora_rank}) were trained: they are merged into these "
        f"weights, and lie alone in `{ADAPTER_FOLDER}/`, for `PeftModel.from_pretrained` on that model."
    )


def _results(source: Source) -> str:
    run = source.run
    text = _table(("figure", "value"), accuracy_rows(source))
    if run.setting("evaluation.num_prompts"):
        evaluated = published(run.setting("evaluation.source"))
        temperature = published(run.setting("evaluation.temperature"))
        text += f"\n\nHeld-out prompts are of {evaluated}, answered at temperature {temperature}."
    curves = list(curve_rows(source))
    if curves:
        num = num_averaged(int((run.steps.steps <= source.num_steps).sum()))
        steps = "step" if num == 1 else f"{num} steps"
        text += "\n\n" + _table(("in training", f"first {steps}", f"last {steps}"), curves)
    return text


def _use(run: RunData) -> str:
    return (
        f"Both look at `{IMAGE}`{', and ask as in training' if run.settings else ''}.\n\n"
        f"```python\n{transformers_program(run)}```\n\n```python\n{vllm_program(run)}```"
    )


def _origin(source: Source) -> str:
    run = source.run
    rows = [("run", published(run.name)), ("its state", run.status)]
    if run.ended_s is not None and source.checkpoint is None:
        rows.append(("when", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run.ended_s))))
    if run.num_resumes:
        rows.append(("resumed", plural(run.num_resumes, "time")))
    for name in ("trained", "filtered", "stale", "quarantined"):
        counted = as_count(as_mapping(run.summary.get("accounting")).get(name))
        if counted is not None and source.checkpoint is None:
            rows.append((f"prompts {name}", f"{counted:,}"))
    rows += version_rows(run)
    rows.append(("exported with pgpo-async", __version__))
    text = _table(("what", "value"), rows)
    return f"{text}\n\n`manifest.json` holds size and xxh3-128 of every file beside it."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
