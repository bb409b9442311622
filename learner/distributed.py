"""Joining the ranks of one learner: environment, time limits, process group, and agreement between ranks.

Owns every trap between a fresh actor process and a working `torch.distributed` group under DeepSpeed, which
is why `join_ranks` must run before anything else imports deepspeed. Called by `worker` and `engine`.
"""

import os
import socket
import sys
import types
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch

Value = TypeVar("Value")
# The one that this process serves: it lives as long as the group.
_stores: list[Any] = []

_MUON = "deepspeed.runtime.zero.muon.muon_optimizer"


def join_ranks(
    *, rank: int, world_size: int, master_addr: str, master_port: int, use_gpu: bool, timeout_s: float
) -> torch.device:
    """Form the process group (nccl on a GPU, else gloo) and return this rank's device.

    Each collective fails after `timeout_s`. Raises torch's DistError where the other ranks do not come.
    """
    _set_environment(rank, world_size, master_addr, master_port, use_gpu)
    if rank == 0:
        _serve_store(master_addr, master_port, timedelta(seconds=timeout_s))
    _limit_all_groups(timeout_s)
    deepspeed = import_deepspeed()
    # The op would be compiled for 38 s and never used.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(
        "nccl" if use_gpu else "gloo",
        timeout=timedelta(seconds=timeout_s),
        auto_mpi_discovery=False,
        verbose=False,
    )
    # Ray shows a rank only its own GPU, so it is always the first.
    return torch.device("cuda", 0) if use_gpu else torch.device("cpu")


def import_deepspeed() -> Any:
    """DeepSpeed, with only its warnings on the log."""
    _leave_out_muon()
    import deepspeed

    deepspeed.utils.logger.setLevel("WARNING")
    return deepspeed


def agree(
    values: Sequence[float], problem: str | None, device: torch.device
) -> tuple[list[float], tuple[str, ...]]:
    """The largest of each value over all ranks, and the problems of all ranks, by rank; collective.

    Ranks agree before work that would hang if one of them could not take part: whoever cannot says so here.
    """
    tensor = torch.tensor([*values, problem is not None], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
    *largest, failed = tensor.tolist()
    if not failed:
        return largest, ()
    problems: list[str | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(problems, problem)
    return largest, tuple(f"rank {rank}: {text}" for rank, text in enumerate(problems) if text is not None)


def from_rank_0(value: Value, device: torch.device) -> Value:
    """Rank 0's `value` on all ranks; collective. What the others pass is ignored."""
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0, device=device)
    return box[0]


def leave_ranks() -> None:
    """Take the process group apart, if there is one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    _stores.clear()


def _set_environment(rank: int, world_size: int, master_addr: str, master_port: int, use_gpu: bool) -> None:
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_RANK="0",
        MASTER_ADDR=master_addr,
        MASTER_PORT=str(master_port),
        DS_ACCELERATOR="cuda" if use_gpu else "cpu",
        # All ranks are then clients of a store that is there already: see `_serve_store`.
        TORCHELASTIC_USE_AGENT_STORE="True",
        TORCHELASTIC_RESTART_COUNT="0",
    )
    # Read as "several ranks share this machine's cores": DeepSpeed would then bind them.
    os.environ.pop("LOCAL_SIZE", None)


def _serve_store(address: str, port: int, timeout: timedelta) -> None:
    """Open the ranks' meeting point at that address alone: torch's own would listen on all interfaces."""
    from torch._C._distributed_c10d import TCPStore

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((address, port))
        listener.listen()
        store = TCPStore(
            address,
            port,
            is_master=True,
            timeout=timeout,
            wait_for_workers=False,
            master_listen_fd=listener.fileno(),
        )
        listener.detach()  # the store's now
    _stores.append(store)


def _limit_all_groups(timeout_s: float) -> None:
    # DeepSpeed makes further groups without a timeout of its own: theirs is torch's default of 30 minutes.
    from torch.distributed import distributed_c10d

    limit = timedelta(seconds=timeout_s)
    for name in ("default_pg_timeout", "default_pg_nccl_timeout"):
        setattr(distributed_c10d, name, limit)


def _leave_out_muon() -> None:
    """Keep DeepSpeed from compiling its Muon kernels (3 s a rank) only to ask whether our AdamW is a Muon."""
    stand_in = types.ModuleType(_MUON)
    stand_in.MuonWithAuxAdam = type("MuonWithAuxAdam", (), {})  # type: ignore[attr-defined]
    sys.modules.setdefault(_MUON, stand_in)
