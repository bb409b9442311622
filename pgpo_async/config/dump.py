"""A RunConfig as YAML. Called by the run loop, which writes `config.yaml` into the run's folder."""

import yaml

from pgpo_async.config.schema import RunConfig
from pgpo_async.config.yaml_core import CoreDumper


def dump_config(config: RunConfig) -> str:
    """Return every field, defaults included, as YAML that `load_config` reads back to an equal config."""
    text = yaml.dump(config.model_dump(), Dumper=CoreDumper, sort_keys=False, allow_unicode=True, width=100)
    assert isinstance(text, str)
    return text
