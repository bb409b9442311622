"""What all ranks report of one call, as one. Called by `group`; light, since the driver imports it."""

from collections.abc import Sequence


def combined(reports: Sequence[dict[str, float]]) -> dict[str, float]:
    """One report of all ranks': metrics are equal but for seconds, where the slowest counts."""
    return {
        name: max(report[name] for report in reports) if name.endswith("_s") else value
        for name, value in reports[0].items()
    }
