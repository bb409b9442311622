import socket
from types import SimpleNamespace

import pytest
from rich.console import Console

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.preflight import check_inputs
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.telemetry import Telemetry

NOBODY = SimpleNamespace(
    queue=None, store=None, rewards=[], working=list, ranks=dict, restarts=dict, wanted=dict
)


@pytest.fixture
def taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_that_is_taken_is_refused_before_a_run_has_a_folder(taken, tmp_path):
    config = load_config("configs/local.yaml", [f"output_dir={tmp_path}", f"metrics.port={taken}"])
    with pytest.raises(ConfigError, match=r"metrics\.port: cannot listen on"):
        check_inputs(config)
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_taken_later_ends_the_run_in_good_order(taken, tmp_path):
    config = load_config("configs/local.yaml", [f"output_dir={tmp_path}", f"metrics.port={taken}"])
    telemetry = Telemetry(config, RunFolder(config), NOBODY, Console(quiet=True))
    with pytest.raises(ConfigError, match=r"metrics\.port"):
        telemetry.start()
    telemetry.close()


def test_a_run_is_seen_from_before_its_actors_until_its_end(tmp_path):
    config = load_config("configs/local.yaml", [f"output_dir={tmp_path}", "metrics.every_s=0.05"])
    folder = RunFolder(config)
    telemetry = Telemetry(config, folder, NOBODY, Console(quiet=True))
    telemetry.start()
    telemetry.observer.look()
    assert '"doing": "starting"' in (folder.path / "status.json").read_text()
    assert telemetry.problem() is None
    telemetry.observer.looked_s -= 120
    telemetry.pause(True)
    telemetry.close()
    telemetry.observer.looked_s -= 120
    assert "no look at the actors since" in telemetry.problem()
