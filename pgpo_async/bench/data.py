"""How fast prompts get from a Parquet file to what the vision tower reads: drawn, decoded, cut into patches.

The same calls as in a run: the source that the replay queue draws from, and the processor that scorers and
learner use. Images are made up: smooth gradients with noise, compressed like photographs.
"""

import io
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pgpo_async.bench.report import Say
from pgpo_async.data.sources import open_source
from pgpo_async.policy.images import preprocess
from pgpo_async.policy.loading import load_processor

MIN_PIXELS, MAX_PIXELS = 200_704, 1_003_520
"""The paper's (ALGORITHMS section 6)."""
ROWS_PER_GROUP = 100


def bench_data(*, rows: int, width: int, height: int, threads: int, say: Say) -> dict[str, Any]:
    """Measure; rows and images a second, with one thread and with `threads`."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "made_up.parquet"
        say(f"writing {rows} rows")
        _write(path, rows, width, height)
        num_bytes = path.stat().st_size
        began = time.perf_counter()
        source = open_source(str(path), split="train", seed=0)
        open_s = time.perf_counter() - began
        before = psutil.Process().memory_info().rss
        say("drawing")
        began = time.perf_counter()
        prompts = [source.prompt(index) for index in range(rows)]
        draw_s = time.perf_counter() - began
        images = [image for prompt in prompts for image in prompt.images]
        grown = psutil.Process().memory_info().rss - before - sum(map(len, images))
    processor = load_processor("builtin:tiny-vlm", min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
    image_processor = processor.image_processor
    num_patches = len(preprocess(image_processor, images[:1]).pixel_values)
    say("preprocessing, one thread")
    alone_s = _seconds(lambda image: preprocess(image_processor, [image]), images, 1)
    say(f"preprocessing, {threads} threads")
    together_s = _seconds(lambda image: preprocess(image_processor, [image]), images, threads)
    return {
        "rows": rows,
        "width": width,
        "height": height,
        "file_bytes": num_bytes,
        "open_s": open_s,
        "rows_per_s": rows / draw_s,
        "bytes_per_s": num_bytes / draw_s,
        "grown_bytes": grown,
        "image_tokens": num_patches // image_processor.merge_size**2,
        "threads": threads,
        "images_per_s": rows / alone_s,
        "images_per_s_threads": rows / together_s,
    }


def _write(path: Path, rows: int, width: int, height: int) -> None:
    random = np.random.RandomState(0)
    schema = pa.schema([("images", pa.list_(pa.binary())), ("problem", pa.string()), ("answer", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, ROWS_PER_GROUP):
            numbers = range(first, min(first + ROWS_PER_GROUP, rows))
            columns = {
                "images": [[_photograph(random, width, height)] for _ in numbers],
                "problem": [f"What is shown in picture {number}?" for number in numbers],
                "answer": [str(number) for number in numbers],
            }
            writer.write_table(pa.table(columns, schema=schema))


def _photograph(random: np.random.RandomState, width: int, height: int) -> bytes:
    coarse = Image.fromarray(random.randint(0, 256, size=(9, 12, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(smooth + random.randint(-12, 13, size=smooth.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, format="JPEG", quality=85)
    return file.getvalue()


def _seconds(work: Callable[[bytes], object], images: Sequence[bytes], threads: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, images):
            pass
    return time.perf_counter() - began
