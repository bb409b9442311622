from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pgpo_async.config import RunConfig, load_config
from pgpo_async.contracts import ConfigError

Load = Callable[..., RunConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load YAML text (with overrides) as the file `c.yaml`."""

    def _load(text: str | bytes, *overrides: str) -> RunConfig:
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, overrides)

    return _load


@pytest.fixture
def issues(load: Load, tmp_path: Path) -> Callable[..., Sequence[str]]:
    """Load what cannot be loaded; return the issues, with the folder's name taken out."""

    def _issues(text: str | bytes, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        return [issue.replace(f"{tmp_path}/", "") for issue in caught.value.issues]

    return _issues
