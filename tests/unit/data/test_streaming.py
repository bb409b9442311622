"""A large sharded set of images: opened at once, streamed with flat memory.

20,000 rows (0.1 GB); with PGPO_TEST_ROWS=200000 at full size, which takes 1 GB of disk and some minutes.
"""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

NUM_ROWS = int(os.environ.get("PGPO_TEST_ROWS", "20000"))
NUM_SHARDS = 8
WARM_UP = NUM_ROWS // 10
FLAT_BYTES = 24 << 20  # a quarter of what the smaller set holds

# In a process of its own, whose memory nothing else uses.
CHILD = """
import json, sys, time
import psutil
from pgpo_async.data.sources import open_source
folder, num_draws, warm_up = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
start_s = time.perf_counter()
source = open_source(folder, split="train", seed=0)
source.prompt(0)
opened_s = time.perf_counter() - start_s
memory, num_bytes, seen, process = [], 0, set(), psutil.Process()
for index in range(num_draws):
    prompt = source.prompt(index)
    num_bytes += len(prompt.images[0])
    seen.add(int(prompt.answer))
    if index >= warm_up and index % 500 == 0:
        memory.append(process.memory_info().rss)
drawn_s = time.perf_counter() - start_s - opened_s
print(json.dumps({"opened_s": opened_s, "num_rows": source.num_rows, "num_bytes": num_bytes,
    "num_seen": len(seen), "grown_bytes": max(memory) - memory[0], "rss": max(memory), "drawn_s": drawn_s}))
"""


def write_shards(folder: Path) -> None:
    random = np.random.default_rng(0)
    pool = []
    for _ in range(200):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(buffer, format="PNG")
        pool.append([{"bytes": buffer.getvalue(), "path": None}])
    images = pa.array(pool)
    for shard, numbers in enumerate(np.array_split(np.arange(NUM_ROWS), NUM_SHARDS)):
        columns = {
            "images": images.take(pa.array(numbers % len(pool))),
            "problem": [f"question {number}" for number in numbers],
            "answer": numbers,
        }
        path = folder / f"{shard:02}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=100, use_dictionary=False, compression="none")


@pytest.mark.timeout(900)
def test_a_large_set_is_opened_in_two_seconds_and_streamed_with_flat_memory(tmp_path: Path) -> None:
    write_shards(tmp_path)
    num_bytes = sum(path.stat().st_size for path in tmp_path.iterdir())
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(NUM_ROWS), str(WARM_UP)]
    done = subprocess.run(command, capture_output=True, timeout=800, check=True)
    for path in tmp_path.iterdir():
        path.unlink()  # pytest keeps the folders of its last runs
    found = json.loads(done.stdout)
    print(found)
    assert found["num_rows"] == found["num_seen"] == NUM_ROWS
    assert num_bytes > found["num_bytes"] > 3 * FLAT_BYTES
    assert found["opened_s"] < 2
    assert found["grown_bytes"] < FLAT_BYTES
