"""Dynamic sampling (DAPO): which generated groups have something to teach. Called by the replay queue."""

from pgpo_async.config.training import FilterConfig
from pgpo_async.contracts import GroupHeader


def has_signal(header: GroupHeader, group_filter: FilterConfig) -> bool:
    """Whether a group trains: the mean of the key lies strictly between the bounds.

    Raises ValueError if the group's reward has no such part.
    """
    if not group_filter.enabled:
        return True
    values = {**header.mean_parts, "reward": header.mean_reward}
    if group_filter.key not in values:
        raise ValueError(f"filter key must be one of {sorted(values)}, got {group_filter.key!r}")
    return group_filter.low < values[group_filter.key] < group_filter.high
