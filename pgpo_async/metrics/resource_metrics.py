"""Metrics of resources: memory, devices, disks."""

from pgpo_async.metrics.metric import gauge
from pgpo_async.metrics.pipeline_metrics import ROLES

RESIDENT = gauge(
    "pgpo_resident_bytes",
    "bytes",
    "Resident memory of a role's processes, children included.",
    "as pgpo_actors",
    role=(*ROLES, "driver"),
)
GPU_MEMORY = gauge(
    "pgpo_gpu_memory_bytes",
    "bytes",
    "Memory of the GPUs that a role's actors see.",
    "an actor of that role has a GPU, and NVML (nvidia-ml-py) is installed",
    role=ROLES,
    kind=("used", "limit"),
)
GPU_USE = gauge(
    "pgpo_gpu_use_ratio",
    "ratio",
    "Share of the last moments in which a kernel ran, mean of those GPUs.",
    "as pgpo_gpu_memory_bytes",
    role=ROLES,
)
OBJECT_STORE = gauge(
    "pgpo_object_store_bytes", "bytes", "Ray's object store, all nodes together.", kind=("used", "limit")
)
SHARED_MEMORY = gauge(
    "pgpo_shared_memory_bytes",
    "bytes",
    "/dev/shm of the driver's node, where weights are staged.",
    "Linux",
    kind=("used", "limit"),
)
DISK = gauge("pgpo_disk_bytes", "bytes", "The disk that holds the run folder.", kind=("used", "limit"))
OPEN_FILES = gauge("pgpo_open_files", "", "File descriptors of the driver.", "Linux", kind=("used", "limit"))
