"""How well a network in training does on images that it does not learn from."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from training.finetuning import distributed
from training.finetuning.data import Images
from training.finetuning.objective import Rows

_FLOOR = float(np.log(1e-12))
"""Of a log-probability, as in `calibration.log_losses`."""

Logits = Callable[[NDArray[np.uint8]], torch.Tensor]


def score(
    logits: Logits, images: Images, rows: Rows, *, known: NDArray[np.bool_], batch_size: int
) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro-F1 and loss, streamed: nothing is kept of an image.

    Each of several processes does its share and gets the figures of all. They are defined as in
    `evaluation`: balanced accuracy over the classes that the truth holds, macro-F1 over those that
    truth or prediction holds; an image of a multi-label task is right if all its classes are. The
    loss is the log-loss, without weights or smoothing.

    Args:
        logits: (B, C) of pixels (B, S, S, 3).
        images: of the rows.
        rows: with N at least 1; their weights do not count.
        known: (C,) classes that can be predicted.
        batch_size: images at a time.
    """
    width = len(known)
    single = rows.targets.ndim == 1
    summed = torch.zeros(2 + 3 * width, dtype=torch.float64)
    own = distributed.portion(len(rows))
    order = (own[start : start + batch_size] for start in range(0, len(own), batch_size))
    for batch, pixels in images.batches(order):
        outputs = logits(pixels).double()
        device = outputs.device
        summed = summed.to(device)
        outputs = outputs.masked_fill(~torch.from_numpy(known).to(device), -torch.inf)
        y = torch.from_numpy(np.asarray(rows.targets[batch], dtype=np.int64)).to(device)
        if single:
            losses = -outputs.log_softmax(dim=1).gather(1, y[:, None])[:, 0].clamp(min=_FLOOR)
            truth = torch.nn.functional.one_hot(y, width).bool()
            called = torch.nn.functional.one_hot(outputs.argmax(dim=1), width).bool()
        else:
            truth, called = y == 1, outputs >= 0
            signed = torch.where(truth, outputs, -outputs)
            losses = -torch.nn.functional.logsigmoid(signed).clamp(min=_FLOOR).mean(dim=1)
        right = (truth == called).all(dim=1)
        tables = ((truth & called), truth, called)
        counts = torch.cat([table.sum(dim=0) for table in tables]).double()
        summed += torch.cat([torch.stack([losses.sum(), right.sum().double()]), counts])
    found = distributed.total(summed.cpu().numpy())
    both, actual, called_total = found[2:].reshape(3, width)
    held, named = actual > 0, actual + called_total > 0
    f1 = 2 * both[named] / (actual + called_total)[named]
    return {
        "accuracy": float(found[1] / len(rows)),
        "balanced_accuracy": float((both[held] / actual[held]).mean()) if held.any() else 0.0,
        "macro_f1": float(f1.mean()) if named.any() else 0.0,
        "loss": float(found[0] / len(rows)),
    }
