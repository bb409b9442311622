"""A config as YAML. Called by the run folder, which holds `config.yaml`, and by a comparison's report."""

import yaml

from pgpo_async.config.base import Section
from pgpo_async.config.masking import masked
from pgpo_async.config.yaml_core import CoreDumper


def dump_config(config: Section) -> str:
    """Return every field, defaults included, as YAML that its loader reads back to an equal config.

    Secrets are masked (`masking`); a loader says that they must be given again.
    """
    values = masked(config.model_dump())
    text = yaml.dump(values, Dumper=CoreDumper, sort_keys=False, allow_unicode=True, width=100)
    assert isinstance(text, str)
    return text
