"""The variances of methods on one batch are of the same responses, and scale as a variance must."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pgpo_async.bench import variance
from pgpo_async.bench.one_batch import judged_batch
from pgpo_async.bench.variance import METHODS, Method
from pgpo_async.cli import app

DOUBLED = """
from dataclasses import dataclass
from pgpo_async.algorithms.shaping import BaseShaper, Shaped

@dataclass(frozen=True)
class Doubled(BaseShaper):
    name = "doubled"

    def shape(self, signals):
        return Shaped(weights_BT=2.0 * signals.real_BT)
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_doubled_weights_have_four_times_the_variance_and_the_same_signal_to_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(DOUBLED)
    doubled = Method(name="doubled", shaper=f"{tmp_path / 'own.py'}:Doubled", params={})
    capped = Method(name="capped", shaper="pgpo", params={"max_weight": 3.0})
    monkeypatch.setattr(variance, "METHODS", (METHODS[0], doubled, capped))
    out = tmp_path / "figures.json"
    arguments = ["bench", "variance", "--prompts", "2", "--group-size", "4", "--json", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "doubled" in done.output
    plain, twice, thrice = json.loads(out.read_text())["methods"]
    for name in ("variance_ratio", "final_norm_variance_ratio"):
        assert plain[name] == 1
        assert twice[name] == pytest.approx(4.0, rel=1e-4)
        assert thrice[name] != pytest.approx(1.0, rel=1e-2)
    for name in ("signal_to_noise", "final_norm_signal_to_noise"):
        assert twice[name] == pytest.approx(plain[name], rel=1e-4)
    assert thrice["weight_max"] == pytest.approx(3.0, rel=1e-4)
    assert thrice["weight_mean"] == pytest.approx(1.0, rel=1e-4)


def test_a_batch_is_the_same_for_the_same_seed_and_holds_only_groups_with_signal() -> None:
    first, again = (judged_batch(num_prompts=3, group_size=4, seed=1) for _ in range(2))
    assert len(first.groups) + first.num_dropped == 3
    assert len(first.groups) > 0
    assert torch.equal(first.advantages_B, again.advantages_B)
    for group, same in zip(first.groups, again.groups, strict=True):
        assert all((a == b).all() for a, b in zip(group.responses, same.responses, strict=True))
    per_group = first.advantages_B.view(-1, 4)
    assert per_group.sum(dim=1).abs().max() < 1e-5
    assert (per_group.abs().amax(dim=1) > 0.1).all()
