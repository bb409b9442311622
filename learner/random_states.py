"""A rank's random number generators (python, numpy, torch, the GPU's): saved and put back.

Called by `saving`. Owns one file a rank inside a checkpoint; that the file is what was written is the
manifest's to say.
"""

import random
from pathlib import Path

import numpy as np
import torch


def write(home: Path, rank: int, device: torch.device) -> None:
    """Write this rank's generators as they are now."""
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }
    torch.save(state, _path(home, rank))


def restore(home: Path, rank: int, device: torch.device) -> None:
    """Put this rank's generators back. The GPU's stays as it is where there was none when it was saved."""
    state = torch.load(_path(home, rank), map_location="cpu", weights_only=False)
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)


def _path(home: Path, rank: int) -> Path:
    return home / f"random_states_{rank:05d}.pt"
