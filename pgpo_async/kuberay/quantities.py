"""Numbers as Kubernetes writes them."""

import math

MI, GI = 1 << 20, 1 << 30


def as_memory(num_bytes: float) -> str:
    """Return bytes, rounded up, as `Gi` or, where that is too coarse, `Mi`."""
    if num_bytes >= 4 * GI or num_bytes % GI == 0:
        return f"{math.ceil(num_bytes / GI)}Gi"
    return f"{math.ceil(num_bytes / MI)}Mi"


def as_cpus(cpus: float) -> str:
    """Return CPUs, in thousandths where they are no whole number."""
    return f"{cpus:.0f}" if cpus == round(cpus) else f"{math.ceil(cpus * 1000 - 1e-6)}m"
