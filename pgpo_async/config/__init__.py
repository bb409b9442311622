"""Configuration: a pydantic schema, YAML and overrides with positions, errors all at once.

    schema            RunConfig; its sections are `inputs`, `pipeline`, `training`, `shapers`
    checks            what needs several fields: problems and warnings
    load              load_config: a file and `KEY=VALUE` overrides to a RunConfig
    compare           CompareConfig: methods times seeds, each an override of a RunConfig
    load_compare      load_compare, and run_configs: the RunConfig of each
    dotted            overrides written with dots or nested, to one form
    extending         `extends: OTHER.yaml`, one file laid over another
    dump              dump_config: a config to YAML that its loader reads back
    files, validation a file to a document; that against a schema, every issue at once
    yaml_core         PyYAML with YAML 1.2's scalars
    document          YAML text to values and their places
    overrides         `KEY=VALUE` onto a document
    messages, fields  what is wrong with a field, and what was meant
    issues            a place, a field, a message

No torch, ray, vllm, deepspeed or transformers: a config is checked before any of them is imported.
"""

from pgpo_async.config.compare import CompareConfig
from pgpo_async.config.dump import dump_config
from pgpo_async.config.load import load_config
from pgpo_async.config.load_compare import PlannedRun, load_compare, run_configs
from pgpo_async.config.schema import RunConfig

__all__ = [
    "CompareConfig",
    "PlannedRun",
    "RunConfig",
    "dump_config",
    "load_compare",
    "load_config",
    "run_configs",
]
