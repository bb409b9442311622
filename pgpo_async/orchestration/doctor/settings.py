"""The config that is examined: CONFIG with its overrides, or the demo's settings where there is none.

Owns the few settings in which the demo differs from the defaults: its model is too small for them.
"""

from collections.abc import Sequence
from pathlib import Path

from pgpo_async.config import load_config
from pgpo_async.config.document import Document, Written
from pgpo_async.config.issues import Place
from pgpo_async.config.overrides import apply_override
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.validation import validated

DEMO = (
    "name=demo",
    "model.dtype=float32",
    "data.max_prompt_tokens=256",
    "data.system_prompt=''",
    "data.instruction='use <think> </think> then \\boxed{} .'",
    "generation.max_response_tokens=32",
    "learner.num_threads=1",
    "generator.num_threads=1",
    "scorer.num_threads=1",
    "generator.engine={enforce_eager: true, kv_cache_memory_bytes: 268435456, gpu_memory_utilization: 0.1}",
    "ray.object_store_bytes=536870912",
)


def examined_config(path: Path | None, overrides: Sequence[str]) -> RunConfig:
    """Return the config. Raises ConfigError, as `load_config`."""
    if path is not None:
        return load_config(path, overrides)
    place = Place(source=0, label="the demo's settings")
    document = Document(value={}, written={(): Written(key=place, value=place)})
    for number, override in enumerate((*DEMO, *overrides), start=1):
        apply_override(document, override, number)
    return validated(RunConfig, document)
