"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfcli.recipe.schema import TrainingSection


def learning_rate(settings: TrainingSection, step: int) -> float:
    """Return the rate of update number `step`, counted from 1.

    It grows linearly to `learning_rate` over `warmup_steps`, then falls with the inverse square root of the step
    (so that it is `learning_rate` where the warm-up ends) or along half a cosine until `max_steps`, or stays.

    Source: "Attention Is All You Need", section 5.3, with a free peak; Loshchilov and Hutter, 2017, for the cosine.
    """
    peak, warmup = settings.learning_rate, settings.warmup_steps
    if step < warmup:
        return peak * step / warmup
    if settings.schedule == "inverse_sqrt":
        rate = peak * math.sqrt(max(warmup, 1) / max(step, 1))
    elif settings.schedule == "cosine":
        progress = min(1.0, (step - warmup) / max(1, settings.max_steps - warmup))
        rate = settings.min_learning_rate + (peak - settings.min_learning_rate) * 0.5 * (
            1 + math.cos(math.pi * progress)
        )
    else:
        rate = peak
    return max(rate, min(settings.min_learning_rate, peak))
