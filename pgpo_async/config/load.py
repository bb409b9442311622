"""`load_config`: a YAML file and `KEY=VALUE` overrides to a RunConfig, or to every error at once.

Called by the command line, by tests and by tools outside this code base.
"""

import os
from collections.abc import Sequence
from pathlib import Path as FilePath

from pgpo_async.config.extending import read_extended
from pgpo_async.config.overrides import apply_override
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.validation import validated


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a config file (YAML 1.2 core schema, UTF-8); what it leaves out is as in the file that it
    `extends`, or has its default.

    `overrides` are `KEY=VALUE` with dotted keys, `learner.optimizer.lr=1e-6`; the later wins.
    Raises ConfigError with every issue, `file:line:column: field: message`, in the order of their places.
    """
    document = read_extended(FilePath(path))
    for number, override in enumerate(overrides, start=1):
        apply_override(document, override, number)
    return validated(RunConfig, document)
