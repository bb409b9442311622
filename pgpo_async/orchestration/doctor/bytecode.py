"""Whether Python keeps what it compiles of the large libraries: a run's processes all import them.

Owns the question alone; nothing is imported. Where nothing is kept, an engine's imports took 18.6 s of a
core's time and not 8.9 s, in each of its two processes, and Ray's start 7.2 s and not 3.0 s (measured, two
cores).
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pgpo_async.orchestration.doctor.lines import Line, ok, warning

LIBRARIES = ("torch", "transformers", "ray", "deepspeed", "vllm")


def check_bytecode(environ: Mapping[str, str], libraries: Sequence[str] = LIBRARIES) -> Iterator[Line]:
    """Yield a line on libraries that every process has to compile anew."""
    sources = [path for name in libraries if (path := _source(name)) is not None]
    missing = [path for path in sources if not Path(importlib.util.cache_from_source(str(path))).exists()]
    forbidden = bool(environ.get("PYTHONDONTWRITEBYTECODE"))
    stuck = [path for path in missing if forbidden or not os.access(path.parent, os.W_OK)]
    if not stuck:
        yield ok(
            "bytecode", "compiled libraries are kept" if not missing else "kept from the first import on"
        )
        return
    why = "PYTHONDONTWRITEBYTECODE is set" if forbidden else f"{stuck[0].parent} cannot be written"
    yield warning(
        "bytecode",
        f"every process compiles {', '.join(path.parent.name for path in stuck)} anew, and starts in about "
        f"twice the time: there is no bytecode, and {why}",
        "compile once: `uv sync --compile-bytecode`, or `python -m compileall -q` on site-packages; in a "
        "Dockerfile UV_COMPILE_BYTECODE=1",
    )


def _source(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # half-deleted: `versions` says so
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None
