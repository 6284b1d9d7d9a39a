"""A small training that several processes do together, for test_distributed."""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn import functional

from training.finetuning import distributed

IMAGES, CLASSES = 39, 3
STEPS = 6
"""Over 39 images: steps of 6 and of 7, which two processes cannot share equally."""


def train() -> nn.Module:
    """Batch normalisation that learns, images mixed with their mirror, a classifier."""
    # A different start in every process, which `spread` must overcome.
    torch.manual_seed(distributed.rank())
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        BatchNormAct2d(8),
        nn.Conv2d(8, 8, 3, groups=2, bias=False),
        nn.BatchNorm2d(8, momentum=None),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )
    module = module.double().to(memory_format=torch.channels_last)
    distributed.spread(module)
    distributed.synchronise(module)
    pixels, labels = _data()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    rng = np.random.default_rng(0)
    for _ in range(4):
        for rows in np.array_split(rng.permutation(IMAGES), STEPS):
            own = distributed.share(rows)
            mixed = 0.7 * pixels[own] + 0.3 * pixels[own].flip(0)
            loss = functional.cross_entropy(module(mixed), labels[own])
            optimizer.zero_grad()
            (loss * len(own) / len(rows)).backward()
            distributed.average_gradients(module)
            optimizer.step()
    return module


def scores(module: nn.Module) -> np.ndarray:
    """(N, C), each process computing some of the rows."""
    rows = distributed.portion(IMAGES)
    with torch.inference_mode():
        found = module.eval()(_data()[0][rows]).numpy()
    whole = np.zeros((IMAGES, CLASSES))
    whole[rows] = found
    return distributed.total(whole)


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    pixels = torch.from_numpy(rng.normal(1, 2, (IMAGES, 3, 9, 9)))
    return pixels, torch.from_numpy(rng.integers(CLASSES, size=IMAGES))


def main(folder: Path) -> None:
    """Train, and let every process write what it has."""
    torch.set_num_threads(1)
    with distributed.group():
        module = train()
        state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
        state["scores"] = torch.from_numpy(scores(module))
        state["sum"] = torch.from_numpy(distributed.total([1.0, distributed.rank()]))
        distributed.barrier()
        save_file(state, folder / f"{distributed.rank()}-of-{distributed.world()}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
