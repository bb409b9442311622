"""Errors that users can act on, as messages and exit codes of a command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def told_in_a_line(writes: Path | None = None) -> Iterator[None]:
    """Turn the errors that users can act on into messages and exit codes.

    `writes` is the file of `--json`: where it cannot be written nothing else is done.
    """
    # Here, since `--help` must not wait for it.
    from pgpo_async.contracts import ConfigError, PgpoError

    try:
        if writes is not None and not writes.parent.is_dir():
            raise ConfigError(f"--json: the folder {writes.parent} must exist")
        yield
    except ConfigError as error:
        for issue in error.issues:
            print(issue, file=sys.stderr)
        raise SystemExit(2) from None
    except PgpoError as error:
        print(f"error: {' '.join(error.message.split())}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
