"""What a process takes of its machine: memory, and the GPUs it may use. Cheap enough for every second.

Called by every actor's `status`. A machine without NVML (nvidia-ml-py) has no figures of its GPUs.
"""

import os
import socket
import time
from contextlib import suppress
from typing import Any

import psutil

CHILDREN_S = 30.0
"""Between two looks for child processes: that reads the whole process table."""

_children: tuple[float, list[psutil.Process]] = (-CHILDREN_S, [])


def vitals(*, children: bool = False) -> dict[str, Any]:
    """`host`, `pid`, `rss_bytes` (with `children`: theirs, too), and `gpus`: of each (index or UUID) bytes
    used, bytes in all, and the share of the last moments in which it worked.
    """
    own = psutil.Process()
    processes = [own, *(_children_of(own) if children else [])]
    rss_bytes = 0
    for process in processes:
        with suppress(psutil.Error):
            rss_bytes += process.memory_info().rss
    return {"host": socket.gethostname(), "pid": own.pid, "rss_bytes": rss_bytes, "gpus": _gpus()}


def _children_of(own: psutil.Process) -> list[psutil.Process]:
    global _children
    looked_s, found = _children
    if time.monotonic() - looked_s >= CHILDREN_S:
        found = own.children(recursive=True)
        _children = time.monotonic(), found
    return found


def _gpus() -> dict[str, tuple[int, int, float]]:
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if not visible:
        return {}
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, or no driver: whichever it is, there is nothing to tell
        return {}
    found = {}
    for name in visible:
        with suppress(pynvml.NVMLError):
            handle = (
                pynvml.nvmlDeviceGetHandleByIndex(int(name))
                if name.isdecimal()
                else pynvml.nvmlDeviceGetHandleByUUID(name)
            )
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            use = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
            found[name] = int(memory.used), int(memory.total), use
    return found
