import io
import json
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pgpo_async.config import dump_config, load_config
from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, ScoredGroup, VersionSpan, encode

BEGAN_S = 1_795_000_000.0
"""When the runs here began."""
START_S = 10.0
"""From then to the first step."""
STEP_S = 2.0

CONFIG = """
name: written
model: {path: "builtin:tiny-vlm"}
data: {source: "builtin:shapes"}
train: {num_steps: 12, groups_per_step: 4, max_lag: 2}
"""


def png(width: int = 40, height: int = 30, colour: str = "red") -> bytes:
    """Return an encoded picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def step_line(step: int, /, **changes: Any) -> dict[str, Any]:
    """Return a line of metrics.jsonl, all figures told."""
    values = {
        "step": step,
        "version": step,
        "reward": 0.3 + 0.05 * step,
        "accuracy": 0.2 + 0.05 * step,
        "lag_mean": 1.25,
        "lag_max": 2,
        "step_s": STEP_S,
        "learner_wait_s": 0.5,
        "time_s": BEGAN_S + START_S + STEP_S * step,
        "groups": [f"g{step:04d}{number}" for number in range(4)],
        "lags": [0, 1, 2, 2],
        "group_rewards": [0.1, 0.4, 0.4, 0.9],
        "learner/loss": -0.02 * step,
        "learner/grad_norm": 1.5,
        "learner/entropy": 1.0 / step,
        "learner/num_tokens": 800.0,
        "learner/skipped_step": 0.0,
        "learner/fresh_mismatch_kl": 1e-9,
        "learner/mismatch_kl": 1e-4,
        "learner/is_capped_share": 0.0,
        "learner/truncated_share": 0.0,
        "learner/weight_max": 3.0,
        "learner/dependency_mean": 0.1,
        "learner/busy_s": 1.2,
        "queue/format": 0.9,
        "queue/response_tokens": 20.0,
        "queue/filtered_share": 0.25,
        "pipeline/busy_generate": 0.9,
        "pipeline/busy_score": 0.5,
        "pipeline/busy_learn": 0.6,
        "pipeline/queue_reserved": 3,
        "pipeline/queue_scored": 2,
        "pipeline/queue_bytes": 4096,
    }
    return values | changes


SUMMARY = {
    "status": "completed",
    "accuracy_before": 0.25,
    "accuracy_after": 0.875,
    "steps": 12,
    "wall_s": 40.0,
    "train_s": 24.0,
    "busy_s": {"generate": 21.6, "score": 12.0, "learn": 14.4},
    "overlap_efficiency": 0.9123,
    "learner_wait_fraction": 0.25,
    "max_lag_allowed": 2,
    "max_lag_seen": 2,
    "lag_histogram": {"0": 12, "1": 12, "2": 24},
    "accounting": {"drawn": 77, "trained": 48, "filtered": 16, "stale": 3, "quarantined": 4, "pending": 6},
    "accounting_balanced": True,
    "quarantined_by_reason": {"corrupt_image": 4},
    "left_behind": [],
    "restarts": 0,
    "skipped_steps": 0,
}


def scored_group(
    name: str = "g1", *, question: str = "how many?", texts: Sequence[str] = ("\\boxed{3}", "\\boxed{4}"),
    answer: str = "3", images: tuple[bytes, ...] = (), rewards: Sequence[float] = (1.0, 0.1),
) -> ScoredGroup:  # fmt: skip
    """Return a group of which the first response is right."""
    rollouts = tuple(
        Rollout(
            response_token_ids=np.arange(3, dtype=np.int32),
            behaviour_logprobs=np.full(3, -0.5, np.float32),
            version_spans=(VersionSpan(version=0, start=0, end=3),),
            finish_reason="stop",
            text=text,
            reward=reward,
            reward_parts={"accuracy": float(reward >= 1.0), "format": 1.0},
        )
        for text, reward in zip(texts, rewards, strict=True)
    )
    prompt = Prompt(prompt_id=f"p-{name}", question=question, answer=answer, images=images)
    group = RolloutGroup(
        group_id=name, prompt=prompt, prompt_token_ids=np.arange(2, dtype=np.int32), rollouts=rollouts
    )
    return ScoredGroup.unscored(group)


class RunWriter:
    """Writes a run's folder, as much of it as a test wants."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def config(self, text: str = CONFIG) -> "RunWriter":
        source = self.path / "config.yaml"
        source.write_text(text)
        source.write_text(dump_config(load_config(source)))
        return self

    def lines(self, name: str, rows: Sequence[Mapping[str, Any]], *, torn: str = "") -> "RunWriter":
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.path / name).write_text(text + torn)
        return self

    def steps(self, num: int = 12, *, torn: str = "", **changes: Any) -> "RunWriter":
        rows = [step_line(step, **changes) for step in range(1, num + 1)]
        return self.lines("metrics.jsonl", rows, torn=torn)

    def events(self, *texts: str) -> "RunWriter":
        """Each `seconds: text`, after the beginning of the run."""
        split = [text.partition(": ") for text in ("0: starting: replay queue", *texts)]
        rows = [{"time_s": BEGAN_S + float(after), "event": text} for after, _, text in split]
        return self.lines("events.jsonl", rows)

    def summary(self, **changes: Any) -> "RunWriter":
        (self.path / "summary.json").write_text(json.dumps(SUMMARY | changes))
        return self

    def sample(self, step: int, group: ScoredGroup) -> "RunWriter":
        home = self.path / "samples" / f"step-{step:08d}"
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{len(list(home.iterdir()))}.arrow").write_bytes(encode(group))
        return self

    def whole(self) -> "RunWriter":
        """A run that completed, nothing wrong with it."""
        books = SUMMARY["accounting"] | {"stale": 0, "quarantined": 0, "pending": 13}
        return self.config().steps().events("9: ready after 9 s").summary(
            accounting=books, quarantined_by_reason={}
        )  # fmt: skip


class Parsed(HTMLParser):
    """A page as a browser reads it: its elements, its words, the data of its script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style", "svg"):
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif not self._open:
            self.words += f" {data}"

    def ids(self) -> set[str]:
        return {attributes["id"] or "" for _, attributes in self.elements if "id" in attributes}

    def data(self) -> dict[str, Any]:
        found = json.loads(self.scripts[0])
        assert isinstance(found, dict)
        return found


@pytest.fixture
def parsed() -> Callable[[str], Parsed]:
    """Read a page."""
    return Parsed


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunWriter]:
    """Make a run's folder of a name."""
    return lambda name="written-1": RunWriter(tmp_path / name)


@pytest.fixture
def make_group() -> Callable[..., ScoredGroup]:
    """Make a scored group of a name."""
    return scored_group


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Make an encoded picture of a width and a height."""
    return png


@pytest.fixture
def line_of() -> Callable[..., dict[str, Any]]:
    """Make a line of metrics.jsonl of a step."""
    return step_line
