"""The bench sends a small model the whole way and tells what the design promises."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pgpo_async.bench import weights_table
from pgpo_async.bench.weights import bench_versions, change, check_room, synthetic_weights
from pgpo_async.cli import app
from pgpo_async.contracts import ConfigError

KEYS = {"delta_bytes_fraction", "bit_exact", "publish_s", "stage_s", "load_s", "memcpy_s"}
PAUSE_KEYS = {"update_pause_p50_s", "update_pause_max_s"}
PAUSES = {
    **dict.fromkeys(PAUSE_KEYS, 0.25),
    "update_pauses": 20,
    "update_model_bytes": 1_000_000,
    "update_bit_exact": True,
    "rollouts_with_several_versions": 7,
}


def test_a_few_megabytes_go_the_whole_way_to_the_bit(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    size = ["--gigabytes", "0.004", "--versions", "5", "--full-every", "4"]
    done = CliRunner().invoke(app, ["bench", "weights", *size, "--no-engine", "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert "to the bit: yes" in done.output
    figures = json.loads(out.read_text())
    assert figures.keys() >= KEYS
    assert figures.keys().isdisjoint(PAUSE_KEYS)
    assert figures["bit_exact"] is True
    assert 0 < figures["delta_bytes_fraction"] <= 0.10
    # Of five versions two are whole.
    delta = figures["delta_bytes_fraction"]
    assert figures["overall_bytes_fraction"] == pytest.approx((2 + 3 * delta) / 5, rel=1e-3)
    assert all(figures[name] > 0 for name in KEYS if name.endswith("_s"))
    assert not list(Path("/dev/shm").glob("pgpo_async-bench-weights-*/v*")), "nothing stays"


def test_with_an_engine_its_pauses_are_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_table, "check_engine", lambda: None)
    monkeypatch.setattr(weights_table, "bench_pauses", lambda **_: PAUSES)
    out = tmp_path / "figures.json"
    size = ["--gigabytes", "0.002", "--versions", "2"]
    done = CliRunner().invoke(app, ["bench", "weights", *size, "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert "stood still for 0.250 s" in done.output
    assert json.loads(out.read_text()).keys() >= KEYS | PAUSE_KEYS


def test_a_model_that_changes_too_much_is_sent_whole() -> None:
    figures = bench_versions(
        gigabytes=0.002, changed=0.6, versions=3, full_every=10, seed=0, say=lambda _: None
    )
    assert figures["delta_bytes_fraction"] == 1.0
    assert figures["bit_exact"]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
def test_that_share_of_all_elements_changes_in_its_last_bits(share: float) -> None:
    torch.manual_seed(0)
    weights = synthetic_weights(4_000_000)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    change(weights, share)
    moved = sum(int((weights[name] != before[name]).sum()) for name in weights)
    assert moved / sum(len(tensor.view(-1)) for tensor in weights.values()) == pytest.approx(share, rel=0.02)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, before[name], rtol=0.06, atol=0)
    zeros = {"w": torch.zeros(1000)}
    change(zeros, share)
    assert not zeros["w"].any()


def test_a_model_without_room_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"3 versions must fit .* got 1,000,000,000,000,000,000 bytes each"):
        check_room(tmp_path, 10**18)
    done = CliRunner().invoke(app, ["bench", "weights", "--json", str(tmp_path / "none" / "f")])
    assert done.exit_code == 2
    assert "--json: the folder" in done.stderr
