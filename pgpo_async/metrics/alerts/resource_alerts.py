"""Alerts of resources: something that a run needs is filling up."""

from pgpo_async.metrics import resource_metrics as resources
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.alerts.alert import RUNS, Alert, Severity
from pgpo_async.metrics.metric import Metric


def used_share(metric: Metric) -> str:
    """Of what there is."""
    return f"{RUNS.now(metric, kind='used')} / {RUNS.now(metric, kind='limit')}"


def _disk() -> str:
    """Nearly full, or soon, if it grows on as it has for hours; what a start writes is no trend."""
    window = limits.DISK_WINDOW
    then = RUNS.predicted(resources.DISK, ahead_s=limits.DISK_AHEAD_S, over=window, kind="used")
    grown = f"{then} > {RUNS.now(resources.DISK, kind='limit')}"
    long_enough = RUNS.lately("last", resources.DISK, over="5m", ago=window, kind="used")
    return (
        f"{used_share(resources.DISK)} > {limits.DISK_SHARE:g}\n"
        f"or\n({used_share(resources.DISK)} > {limits.DISK_GROWING_SHARE:g}\nand {grown}\nand {long_enough})"
    )


def _filling(name: str, metric: Metric, limit: float, severity: Severity, what: str, then: str) -> Alert:
    return Alert(
        name=name,
        expr=f"{used_share(metric)} > {limit:g}",
        lasting="10m",
        severity=severity,
        summary=f"<run>: <percent> of {what} in use",
        description=f"<percent> of {what} in use, for <run>: {then}.",
    )


ALERTS = (
    Alert(
        name="PgpoDiskFilling",
        expr=_disk(),
        lasting="10m",
        severity="critical",
        summary="<run>: its disk is <percent> full",
        description="The disk that holds the folder of <run> is <percent> full, or will be full within "
        f"{limits.DISK_AHEAD_S // 3600} hours: a checkpoint that cannot be written ends the run.",
    ),
    _filling(
        "PgpoObjectStoreFilling",
        resources.OBJECT_STORE,
        limits.OBJECT_STORE_SHARE,
        "warning",
        "Ray's object store is",
        "Ray writes objects to disk, and everything slows down",
    ),
    _filling(
        "PgpoSharedMemoryFilling",
        resources.SHARED_MEMORY,
        limits.SHARED_MEMORY_SHARE,
        "critical",
        "the driver node's /dev/shm is",
        "weights that cannot be staged, and objects that cannot be kept, end the run",
    ),
    _filling(
        "PgpoOpenFilesFilling",
        resources.OPEN_FILES,
        limits.OPEN_FILES_SHARE,
        "warning",
        "the driver's file descriptors are",
        "without a free one it can neither write nor reach its actors",
    ),
)
