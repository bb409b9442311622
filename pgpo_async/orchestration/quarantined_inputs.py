"""The input of quarantined prompts whose images their record does not hold, read from the source again.

The replay queue drops a prompt's images when a group's payload has them, and bounds those of its records; the
drawing index finds both again. Used by `step_books`, on the driver, within a bound of time.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence

from pgpo_async.actors.queue_types import Quarantined
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, Prompt, PromptError
from pgpo_async.data.sources import PromptSource, train_source

READ_S = 5.0
"""Spent on the records of one look; those after it stay as they are."""


class QuarantinedInputs:
    """Of one run; opens its source when it is first needed."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._source: PromptSource | None = None

    def whole(self, records: Sequence[Quarantined]) -> list[Quarantined]:
        """Return the records, with their images where they can be had."""
        return list(self._whole(records))

    def _whole(self, records: Sequence[Quarantined]) -> Iterator[Quarantined]:
        deadline = time.monotonic() + READ_S
        for record in records:
            prompt = None
            if record.images_elsewhere and time.monotonic() < deadline:
                prompt = self._prompt(record.index)
            if prompt is None:
                yield record
            else:
                yield dataclasses.replace(record, prompt=prompt, images_elsewhere=False)

    def _prompt(self, index: int) -> Prompt | None:
        try:
            if self._source is None:
                self._source = train_source(self._config)
            return self._source.prompt(index)
        except PromptError as error:
            return error.prompt
        except (ConfigError, OSError):  # the file is no longer there
            return None
