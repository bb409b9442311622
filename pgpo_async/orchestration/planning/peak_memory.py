"""What a run keeps in host memory at most, without a prediction of its pace.

Called where a run is not simulated: by the doctor, the manifests, a dry run. Reads headers and a few prompts.
"""

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.planning.known_models import model_folder
from pgpo_async.orchestration.planning.plan_inputs import group_size, model_size
from pgpo_async.orchestration.planning.plan_memory import PlannedMemory, plan_memory
from pgpo_async.orchestration.service_times import ServiceTimes

# Publishing takes two steps: the most snapshots that can be waiting.
_AT_ITS_PEAK = ServiceTimes(generate_s=0.0, score_s=0.0, learn_s=1.0, publish_s=2.0)


def planned_memory(config: RunConfig, parameters: float | None = None) -> PlannedMemory | None:
    """What the run keeps at its peak; None where the model's size is neither stated nor known here."""
    folder = None if parameters else model_folder(config.model.path)
    path = config.model.path if folder is None else str(folder)
    local = config.model_copy(update={"model": config.model.model_copy(update={"path": path})})
    try:
        model = model_size(local, None, parameters)
    except ConfigError:
        return None
    group = group_size(config, None)
    return plan_memory(
        config, _AT_ITS_PEAK, step_s=1.0, group_bytes=group.num_bytes, model_bytes=model.num_bytes
    )
