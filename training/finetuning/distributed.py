"""One training in several processes, on one machine or on several, with the result of a single one.

torchrun starts the processes and tells each its rank. All hold the same weights; each takes its
share of every batch, and gradients are averaged over all images before the step. Called in a lone
process, every function here does what is right for one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.distributed.nn import functional as differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from curation import errors
from curation.errors import Interrupted, TrainingError
from curation.images import usable_cores
from curation.progress import Report, silent

if TYPE_CHECKING:
    from curation.workspace import Project  # brings the database, which no training needs

Rows = NDArray[np.int64]


def rank() -> int:
    """The number of this process, from 0; 0 writes the files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def device() -> torch.device:
    """What this process computes on: its own GPU where there are any."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


@contextmanager
def group() -> Iterator[None]:
    """Meets the other processes that torchrun started; alone where it started none."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield
        return
    own = device()
    if own.type == "cuda":
        torch.cuda.set_device(own)
    # gloo carries what lies in ordinary memory, nccl what lies on GPUs.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def share(rows: Rows) -> Rows:
    """This process's part of a step's rows.

    Row i and its mirror, the i-th from the end, always go to the same process. A batch that is
    mixed with its own reverse, as timm's mixup and cutmix do, is so mixed alike in any number of
    processes. With gradient accumulation the parts of a step are shared one by one.

    Args:
        rows: (B,) of the whole step.

    Raises:
        TrainingError: fewer than two rows for each process.
    """
    if world() == 1:
        return rows
    if len(rows) < 2 * world():
        raise TrainingError(
            f"A step of {len(rows)} images cannot be shared by {world()} processes, which take two "
            "each at least. Raise batch-size, lower accumulate, or take fewer processes."
        )
    pairs = np.array_split(np.arange(len(rows) // 2), world())[rank()]
    middle = np.array([len(rows) // 2] * (len(rows) % 2 and rank() == world() - 1), dtype=np.int64)
    own: Rows = rows[np.concatenate([pairs, middle, len(rows) - 1 - pairs[::-1]])]
    return own


def portion(count: int) -> Rows:
    """Numbers (n,) of those among `count` rows that this process scores."""
    own: Rows = np.array_split(np.arange(count), world())[rank()]
    return own


def total(values: NDArray[np.floating[Any]] | Sequence[float]) -> NDArray[np.float64]:
    """The sum over all processes, number by number."""
    summed = torch.from_numpy(np.array(values, dtype=np.float64))
    if world() > 1:
        distributed.all_reduce(summed)
    return summed.numpy()


def average_gradients(module: nn.Module) -> None:
    """Makes each gradient what one process would have found for the whole batch.

    Args:
        module: after the backward pass of this process's part of the loss: the mean over its own
            rows times its share of all rows (`len(own) / len(all)`).
    """
    if world() == 1:
        return
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        if parameter.grad is None:  # all processes must add up the same tensors
            parameter.grad = torch.zeros_like(parameter)
    gradients = [cast(torch.Tensor, parameter.grad) for parameter in trained]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view(gradient.shape))
        start += gradient.numel()


def spread(module: nn.Module) -> None:
    """Gives every process the parameters and buffers of the first.

    Processors of different makes do not round alike, so that even the same seed does not.
    """
    if world() == 1:
        return
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            dense = tensor.detach().contiguous()
            distributed.broadcast(dense, 0)
            tensor.copy_(dense)


def barrier() -> None:
    """Waits until all processes are here."""
    if world() > 1:
        total([0.0])


def synchronise(module: nn.Module) -> None:
    """Lets batch normalisation use the mean and variance of all processes' rows while it trains.

    torch's own SyncBatchNorm does so on GPUs alone, and leaves out what timm builds into its
    layers. Names of parameters and buffers stay as they are.
    """
    if world() == 1:
        return
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.forward = _Synchronised(layer)  # type: ignore[assignment, method-assign]


class _Synchronised:
    """The forward pass of one batch normalisation over all processes."""

    def __init__(self, layer: _BatchNorm) -> None:
        self._layer = layer
        self._alone = layer.forward

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        layer = cast(Any, self._layer)
        if not layer.training:
            return self._alone(inputs)
        axes = [0, *range(2, inputs.ndim)]
        shape = [1, -1, *[1] * (inputs.ndim - 2)]
        values = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        rows = float(total([values.numel() / values.shape[1]])[0])
        mean = _sum(values.sum(axes)) / rows
        centred = values - mean.view(shape)
        variance = _sum(centred.square().sum(axes)) / rows
        if layer.track_running_stats:
            with torch.no_grad():
                layer.num_batches_tracked += 1
                weight = layer.momentum
                if weight is None:
                    weight = 1 / float(layer.num_batches_tracked)
                layer.running_mean.lerp_(mean, weight)
                layer.running_var.lerp_(variance * rows / (rows - 1), weight)
        normal = centred * torch.rsqrt(variance + layer.eps).view(shape)
        if layer.affine:
            normal = normal * layer.weight.view(shape) + layer.bias.view(shape)
        found = normal.to(inputs.dtype)
        # timm's layers carry the activation and, at times, a dropout behind the normalisation.
        for following in ("drop", "act"):
            if (step := getattr(layer, following, None)) is not None:
                found = step(found)
        return found


def _sum(values: torch.Tensor) -> torch.Tensor:
    """Over all processes; its gradient is summed likewise."""
    summed: torch.Tensor = differentiable.all_reduce(values)  # type: ignore[no-untyped-call]
    return summed


def launch(project: "Project", run_id: str, *, processes: int, report: Report = silent) -> None:
    """Fits a run's model by several processes on this machine, and waits for them.

    Args:
        project: whose run it is.
        run_id: whose rows and settings are written.
        processes: at least 1; one for each GPU at most.
        report: told of the first process's progress.

    Raises:
        TrainingError: more processes than GPUs.
        Interrupted: one of them ended badly; the same call goes on.
        LabelloopError: what the first process that failed says.
        Cancelled: asked to stop; the same call goes on.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else None
    if processes < 1 or (gpus is not None and processes > gpus):
        most = "1 or more" if gpus is None else f"1 to {gpus}, the GPUs of this machine"
        raise TrainingError(f"Asked for {processes} processes; give {most}.")
    log = project.workspace.folder("runs") / run_id / "processes.log"
    command = [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--standalone", f"--nproc-per-node={processes}", "-m", "training.worker"),
        *(str(project.workspace.path), project.record.name, run_id, "--with-parent"),
    ]
    settings = {
        # A folder from where the command was given may hold modules of the same names.
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": str(max(1, usable_cores() // processes)),
    }
    failed: dict[str, str] = {}
    with (
        log.open("wb") as errors_file,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors_file,
            env={**os.environ, **settings},
            # Ctrl-C goes to the whole foreground group; this process passes it on as it ends.
            start_new_session=True,
        ) as torchrun,
    ):
        try:
            for line in cast(IO[bytes], torchrun.stdout):
                if not line.startswith(b"{"):  # a library's word, not ours
                    continue
                told = json.loads(line)
                if "error" in told:
                    failed = failed or told
                else:
                    report(told["done"], told["total"], told["says"])
        finally:
            # At the end of their standard input the processes end.
            cast(IO[bytes], torchrun.stdin).close()
            torchrun.wait()
    if failed:
        raise getattr(errors, failed["error"])(failed["says"])
    if torchrun.returncode:
        raise Interrupted(
            f"One of the {processes} processes that trained {run_id} ended with code "
            f"{torchrun.returncode}; {log} tells why. The same command goes on where it stopped."
        )
