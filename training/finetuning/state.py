"""Where a training stands: all that the next step depends on, and the epochs so far."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from training.finetuning import network
from training.finetuning.finetuned import copied
from training.history import Epoch
from training.settings import FineTuneSettings

LOSS, RIGHT, SEEN, NORM, STEPS = range(5)
"""Places in the tally of an epoch: sums over images, of gradient norms, and how many of these."""

_LEAST_SCALE = 2.0**-10
"""A scale of fp16's gradients below which they are not too large but no numbers."""


@dataclass(eq=False)
class State:
    """A training under way.

    Attributes:
        module: the network as the steps leave it.
        average: the moving average of its weights, or none.
        optimizer: with its moments.
        scaler: of fp16's gradients.
        tally: (5,) float64 of the epoch under way; see `LOSS`.
        epoch: under way, from 1.
        step: done of it.
        seconds: that it took so far.
        history: epochs done.
        best: weights of the best one; empty before the first.
    """

    module: nn.Module
    average: ModelEmaV3 | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    tally: torch.Tensor
    epoch: int = 1
    step: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """What would be kept if training ended now."""
        return self.module if self.average is None else cast(nn.Module, self.average.module)

    @property
    def is_sound(self) -> bool:
        """Whether all gradients of the epoch were numbers: the same in all processes."""
        scale = self.scaler.get_scale() if self.scaler.is_enabled() else 1.0
        return math.isfinite(float(self.tally[NORM])) and scale >= _LEAST_SCALE

    @property
    def best_epoch(self) -> Epoch | None:
        """The one whose weights are kept."""
        return next((epoch for epoch in reversed(self.history) if epoch.best), None)

    def close(self, epoch: Epoch) -> None:
        """Enter an epoch that is over; the next one begins."""
        self.history.append(epoch)
        if epoch.best:
            self.best = copied(self.model)
        self.epoch, self.step, self.seconds = epoch.number + 1, 0, 0.0
        self.tally.zero_()

    def is_over(self, settings: FineTuneSettings) -> bool:
        """Whether no epoch is to follow."""
        if not self.history:
            return False
        last, best = self.history[-1], self.best_epoch
        if not last.is_sound or last.number >= settings.epochs:
            return True
        waited = last.number - (best.number if best else 0)
        return bool(settings.patience and last.validation) and waited >= settings.patience

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by name, in ordinary memory."""
        found = {f"model.{name}": tensor for name, tensor in copied(self.module).items()}
        if self.average is not None:
            kept = copied(cast(nn.Module, self.average.module))
            found |= {f"average.{name}": tensor for name, tensor in kept.items()}
        for number, weight in enumerate(self._weights()):
            for name, tensor in self.optimizer.state[weight].items():
                found[f"optimizer.{number}.{name}"] = tensor.detach().cpu().contiguous()
        found |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        return {**found, "tally": self.tally.cpu()}

    def facts(self) -> dict[str, Any]:
        """All else, as JSON knows it."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "scaler": self.scaler.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
        }

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Stand where the state stood that gave these."""

        def under(prefix: str) -> dict[str, torch.Tensor]:
            return {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }

        self.module.load_state_dict(under("model."))
        if self.average is not None:
            cast(nn.Module, self.average.module).load_state_dict(under("average."))
        for number, weight in enumerate(self._weights()):
            for name, tensor in under(f"optimizer.{number}.").items():
                # Moments lie in memory as their weights do.
                own = torch.empty_like(weight) if tensor.shape == weight.shape else tensor.clone()
                moment = own.detach().copy_(tensor)
                self.optimizer.state[weight][name] = moment.to(weight.device)
        self.best = under("best.")
        self.tally.copy_(tensors["tally"])
        self.epoch, self.step, self.seconds = facts["epoch"], facts["step"], facts["seconds"]
        self.scaler.load_state_dict(facts["scaler"])
        self.history = [Epoch(**epoch) for epoch in facts["history"]]

    def _weights(self) -> list[nn.Parameter]:
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]


def begin(module: nn.Module, settings: FineTuneSettings, device: torch.device) -> State:
    """Before the first step.

    Args:
        module: on its device.
        settings: of the training.
        device: of the module.
    """
    # Decay grows from 0 to the setting, so that the average soon forgets the start.
    average = ModelEmaV3(module, decay=settings.ema, use_warmup=True) if settings.ema else None
    return State(
        module=module,
        average=average,
        optimizer=torch.optim.AdamW(network.parameter_groups(module, settings), fused=True),
        scaler=torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16"),
        tally=torch.zeros(5, dtype=torch.float64, device=device),
    )
