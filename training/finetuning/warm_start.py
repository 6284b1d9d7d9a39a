"""The classifier's start: the linear head that fits the frozen features best."""

import logging
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from curation.progress import Report, silent
from training.finetuning import network
from training.finetuning.data import Images
from training.finetuning.objective import Rows
from training.heads.head import fit_head
from training.settings import FineTuneSettings, HeadSettings

MOST_ROWS = 10_000
"""A start need not be the best one: more rows take longer and change little."""

_WORK = 1e12
"""Multiplications that the solver may take; at 10,000 rows of 1,280 features 2,000 iterations for
10 classes, 20 for 1,000."""

_MOST_AT_ONCE = 64
"""Images, where a training step takes so many."""

_CHOICE = 1
"""Told from other random numbers of the same seed."""

_log = logging.getLogger(__name__)


def solve(
    module: nn.Module,
    images: Images,
    rows: Rows,
    *,
    classes: Sequence[str],
    task: str,
    settings: FineTuneSettings,
    class_weight: NDArray[np.floating[Any]] | None = None,
    seed: int,
    report: Report = silent,
) -> bool:
    """Fill the classifier, or leave it random where it is none that a linear head fits.

    Source: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution".

    Args:
        module: on its device.
        images: of the rows.
        rows: what is learned from.
        classes: C names.
        task: `single-label` or `multi-label`.
        settings: of the training.
        class_weight: (C,) in place of the settings' rule.
        seed: of the rows that are taken where there are more than `MOST_ROWS`.
        report: told of the images done.

    Returns:
        Whether it was filled.

    Raises:
        TrainingError: labels that no head can learn from, or the memory of the GPU is too small.
        Cancelled: asked to stop.
    """
    layers = network.classifiers(module)
    chosen = _chosen(rows, seed=seed)
    found = _features(module, layers, images, chosen, settings=settings, report=report)
    if found is None:
        _log.info("%s has no linear classifier: it starts at random", settings.backbone)
        return False
    for layer, features in zip(layers, found, strict=True):
        scale = float(np.linalg.norm(features, axis=1).mean()) or 1.0
        per_iteration = 4.0 * features.size * len(classes)
        head = fit_head(
            features / scale,
            rows.targets[chosen],
            classes=classes,
            task=task,
            settings=HeadSettings(
                class_weight=settings.class_weight,
                max_iterations=int(np.clip(_WORK / per_iteration, 20, 2_000)),
            ),
            sample_weight=None if rows.weights is None else rows.weights[chosen],
            class_weight=class_weight,
        )
        weight = torch.from_numpy(head.weight / scale)
        # A class without a row has no finite bias; its outputs are masked in the end.
        bias = torch.from_numpy(np.where(np.isfinite(head.bias), head.bias, -30.0))
        with torch.no_grad():
            own = cast(nn.Linear, layer)  # or a convolution of one pixel
            own.weight.copy_(weight.reshape(own.weight.shape))
            own.bias.copy_(bias)
    return True


def _chosen(rows: Rows, *, seed: int) -> NDArray[np.int64]:
    """All rows, or a random part of them with one of each class at least."""
    count = len(rows)
    if count <= MOST_ROWS:
        return np.arange(count)
    order = np.random.default_rng([seed, _CHOICE]).permutation(count)
    y = rows.targets[order]
    if rows.weights is not None:
        counted = rows.weights[order] > 0
        order, y = order[counted], y[counted]
    if y.ndim == 1:
        firsts = np.unique(y, return_index=True)[1]
    else:
        firsts = np.unique(y.argmax(axis=0)[y.any(axis=0)])
    rest = np.setdiff1d(np.arange(min(MOST_ROWS, len(order))), firsts)
    return np.sort(order[np.concatenate([firsts, rest])])


def _features(
    module: nn.Module,
    layers: tuple[nn.Module, ...],
    images: Images,
    rows: NDArray[np.int64],
    *,
    settings: FineTuneSettings,
    report: Report,
) -> list[NDArray[np.float32]] | None:
    """For each classifier (n, d) what it sees; None where that is no vector an image."""
    if not all(_is_linear(layer) for layer in layers):
        return None
    seen: list[list[torch.Tensor]] = [[] for _ in layers]
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs, kept=kept: kept.append(inputs[0].float().cpu())
        )
        for layer, kept in zip(layers, seen, strict=True)
    ]
    device = next(module.parameters()).device
    see = network.Input(network.preprocessing(settings), channels_last=settings.channels_last).to(
        device
    )
    module.eval()
    size = max(1, min(_MOST_AT_ONCE, settings.batch_size // settings.accumulate))
    order = (rows[start : start + size] for start in range(0, len(rows), size))
    done = 0
    try:
        with torch.inference_mode(), network.in_words(settings):
            for batch, pixels in images.batches(order):
                with network.autocast(settings, device):
                    module(see(network.tensor(pixels, device)))
                done += len(batch)
                report(done, len(rows), "fit the linear head")
                if any(kept[-1].numel() != len(batch) * kept[-1].shape[1] for kept in seen):
                    return None
    finally:
        for hook in hooks:
            hook.remove()
    return [torch.cat([part.flatten(1) for part in kept]).numpy() for kept in seen]


def _is_linear(layer: nn.Module) -> bool:
    whole = isinstance(layer, nn.Linear) or (
        isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
    )
    return whole and layer.bias is not None
