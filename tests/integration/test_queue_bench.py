"""`pgpo-async bench queue` on a few small groups: both queues really run, in real processes."""

import json

import pytest
from typer.testing import CliRunner

from pgpo_async.bench.queue_journeys import make_values
from pgpo_async.cli import app
from pgpo_async.contracts import ScoredGroup, decode


@pytest.mark.usefixtures("local_ray_environment")
def test_the_bench_tells_every_figure_of_both_queues(tmp_path):
    out = tmp_path / "figures.json"
    # Large enough to travel in parts, and with a last round that is not full.
    options = {"groups": 13, "group-bytes": 120_000, "depth": 10, "repeats": 2, "json": out}
    arguments = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    done = CliRunner().invoke(app, ["bench", "queue", *arguments])
    assert done.exit_code == 0, done.output
    figures = json.loads(out.read_text())
    keys = "groups_per_s", "bytes_per_s", "rss_bytes", "ray_queue_groups_per_s", "ray_queue_rss_bytes"
    assert all(figures[key] > 0 for key in keys)
    assert figures["bytes_per_s"] == pytest.approx(figures["groups_per_s"] * figures["group_bytes"])
    assert figures["plain_rss_bytes"] > figures["rss_bytes"]
    assert figures["ray_queue_rss_bytes"] > figures["rss_bytes"], "two processes against one"
    assert figures["store_bytes"] >= 10 * figures["group_bytes"]
    assert (figures["depth"], figures["in_flight"]) == (10, 5)
    assert len(figures["seconds"]) == len(figures["ray_queue_seconds"]) == 2
    assert "ray.util.queue" in done.output


def test_sizes_that_cannot_be_measured_are_refused_before_ray_starts(tmp_path):
    for arguments, message in (
        (["--group-bytes", "100"], "--group-bytes: group_bytes must be above"),
        (["--json", str(tmp_path / "no" / "f.json")], "--json: the folder"),
    ):
        done = CliRunner().invoke(app, ["bench", "queue", *arguments])
        assert done.exit_code == 2
        assert message in done.output


def test_a_made_up_group_has_the_size_asked_for_and_real_parts():
    values = make_values(200_000)
    assert abs(len(values.generated) - 200_000) < 200
    assert abs(len(values.scored) / len(values.generated) - 1) < 0.1
    group = decode(values.generated)
    assert group.header() == values.header
    assert isinstance(decode(values.scored), ScoredGroup)
