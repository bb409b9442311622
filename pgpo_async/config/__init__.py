"""Configuration: a pydantic schema, YAML and overrides with positions, errors all at once.

    schema            RunConfig; its sections are `inputs`, `pipeline`, `training`, `shapers`
    checks            what needs several fields: problems and warnings
    load              load_config: a file and `KEY=VALUE` overrides to a RunConfig
    dump              dump_config: a RunConfig to YAML that load_config reads back
    yaml_core         PyYAML with YAML 1.2's scalars
    document          YAML text to values and their places
    overrides         `KEY=VALUE` onto a document
    messages, fields  what is wrong with a field, and what was meant
    issues            a place, a field, a message

No torch, ray, vllm, deepspeed or transformers: a config is checked before any of them is imported.
"""

from pgpo_async.config.dump import dump_config
from pgpo_async.config.load import load_config
from pgpo_async.config.schema import RunConfig

__all__ = ["RunConfig", "dump_config", "load_config"]
