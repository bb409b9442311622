"""Which actors are on one GPU: whole ones have their own, fractions are put together as Ray does it.

Pure. Called by `fitting`.
"""

from collections import Counter

from pgpo_async.config.schema import RunConfig

_ROLES = ("scorer", "generator", "learner")
"""In the order in which they are started."""


def shared_devices(config: RunConfig) -> Counter[tuple[str, ...]]:
    """Return the roles of the actors on one GPU, and on how many GPUs it is so.

    Ray gives a fraction the fullest GPU that it still fits. A role on no GPU is on none here.
    """
    devices: list[tuple[float, tuple[str, ...]]] = []
    for role in _ROLES:
        if role == "scorer" and not config.uses_scorers:
            continue
        asked = getattr(config, role)
        for _ in range(asked.replicas):
            if asked.gpus >= 1:
                devices.append((0.0, (role,)))
            elif asked.gpus > 0:
                _put(devices, role, asked.gpus)
    return Counter(tuple(sorted(roles)) for _, roles in devices)


def _put(devices: list[tuple[float, tuple[str, ...]]], role: str, share: float) -> None:
    fitting = [at for at, (free, _) in enumerate(devices) if free >= share - 1e-6]
    if not fitting:
        devices.append((1.0 - share, (role,)))
        return
    at = min(fitting, key=lambda at: devices[at][0])
    free, roles = devices[at]
    devices[at] = (free - share, (*roles, role))
