"""By what a run's processes are known on a machine: a variable in their environment.

A Ray that a run starts for itself hands it on from the driver. In a cluster that was there before, actors set
it for what they start themselves (an engine's own processes), which would outlive them; actors end with Ray.
"""

import os

RUN_ID_VARIABLE = "PGPO_ASYNC_RUN_ID"
"""Its value is the run's id, of its first run where several use the same processes."""


def mark_process(run_id: str) -> None:
    """Let what this process starts be known as the run's, unless it is another's already."""
    os.environ.setdefault(RUN_ID_VARIABLE, run_id)
