import json
from pathlib import Path
from typing import Any

import pytest
import torch

GOLDEN_FILE = Path(__file__).parents[2] / "golden" / "algorithms.json"


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(GOLDEN_FILE.read_text())
    return loaded


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture
def matches(dtype: torch.dtype):
    """Compare with a golden value: float64 as far as its 12 digits carry, float32 to 1e-5 relative."""

    def check(actual: torch.Tensor, expected: object) -> None:
        assert actual.dtype == dtype
        wanted = torch.tensor(expected, dtype=dtype)
        # The quantile threshold divides the golden inputs' 1e-12 rounding by 2e-4, hence 1e-8.
        rtol, atol = (1e-8, 1e-9) if dtype == torch.float64 else (1e-5, 1e-6)
        torch.testing.assert_close(actual, wanted, rtol=rtol, atol=atol)

    return check
