"""Seconds of a step's phases."""

import time

import torch


class PhaseTimer:
    """Seconds by phase, added up. On a GPU a lap waits for what it launched, or it would measure nothing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds = dict.fromkeys(("forward_s", "backward_s", "optimizer_s"), 0.0)
        self._last_s = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap to a phase."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now_s = time.perf_counter()
        self.seconds[phase] += now_s - self._last_s
        self._last_s = now_s
