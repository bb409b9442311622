"""A run that is interrupted draws what it would have drawn: the cursor is the next index alone."""

import io
import json
import pickle
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pgpo_async.config import load_config
from pgpo_async.contracts import Prompt, PromptError
from pgpo_async.data.sources import PromptSource, train_source

NUM_DRAWS = 600
NUM_INTERRUPTIONS = 50
IN_ANOTHER_PROCESS = (5, 25, 45)
CHILD = """
import pickle, sys
from pgpo_async.contracts import PromptError
source, start, stop = pickle.load(sys.stdin.buffer)
drawn = []
for index in range(start, stop):
    try:
        prompt, reason = source.prompt(index), ""
    except PromptError as error:
        prompt, reason = error.prompt, error.reason
    drawn.append((prompt, reason))
pickle.dump(drawn, sys.stdout.buffer)
"""


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), shade).save(buffer, format="PNG")
    return buffer.getvalue()


def mixture(folder: Path) -> PromptSource:
    """A sharded folder of 70 rows, a JSONL file of 23 that lacks images and answers, and scenes."""
    shards = folder / "shards"
    shards.mkdir()
    for shard in range(2):
        rows = [
            {"images": [png(i)], "problem": f"p{i}", "answer": i} for i in range(shard * 35, shard * 35 + 35)
        ]
        pq.write_table(pa.Table.from_pylist(rows), shards / f"{shard}.parquet", row_group_size=4)
    (folder / "x.png").write_bytes(png(9))
    lines = [
        {"images": ["x.png"] if i % 3 else [], "question": f"j{i}", "answer": i if i % 5 else None}
        for i in range(23)
    ]
    (folder / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sources = (
        f"[{{source: {shards}, weight: 2}}, {{source: 'builtin:shapes', weight: 0.3}},"
        f"{{source: {folder / 'set.jsonl'}, columns: {{problem: question}}}}]"
    )
    overrides = [f"data.sources={sources}", "data.source=''", "data.require_image=true", "data.seed=11"]
    return train_source(load_config("configs/local.yaml", overrides))


def drawn_here(source: PromptSource, start: int, stop: int) -> list[tuple[Prompt, str]]:
    drawn: list[tuple[Prompt, str]] = []
    for index in range(start, stop):
        try:
            drawn.append((source.prompt(index), ""))
        except PromptError as error:
            assert error.prompt  # noqa: PT017
            drawn.append((error.prompt, error.reason))
    return drawn


def drawn_elsewhere(source: PromptSource, start: int, stop: int) -> list[tuple[Prompt, str]]:
    given = pickle.dumps((source, start, stop))
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=given, capture_output=True, timeout=120, check=True
    )
    drawn: list[tuple[Prompt, str]] = pickle.loads(done.stdout)
    return drawn


def test_fifty_interruptions_leave_the_sequence_of_a_mixture_as_it_is(tmp_path: Path) -> None:
    source = mixture(tmp_path)
    expected = drawn_here(source, 0, NUM_DRAWS)
    reasons = [reason for _, reason in expected]
    assert {"", "no_image", "missing_answer"} == set(reasons), "the filters are at work"
    times = Counter(prompt.prompt_id for prompt, _ in expected if not prompt.prompt_id.startswith("1/"))
    assert (len(times), min(times.values()) >= 5) == (70 + 23, True), "over several epochs of each set"
    cuts = sorted(random.Random(5).sample(range(1, NUM_DRAWS), NUM_INTERRUPTIONS))
    found: list[tuple[Prompt, str]] = []
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, NUM_DRAWS], strict=True)):
        source = pickle.loads(pickle.dumps(source))
        draw = drawn_elsewhere if number in IN_ANOTHER_PROCESS else drawn_here
        found += draw(source, start, stop)
    assert found == expected
