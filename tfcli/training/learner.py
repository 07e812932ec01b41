"""The network with all that a step needs beside it: optimizer, arithmetic, loss settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tfcli.corpus.blocks import worst_blocks
from tfcli.corpus.stream import TextIds
from tfcli.model.config import ModelConfig
from tfcli.model.networks import Network, build_network
from tfcli.training.compiled import CompiledBlocks, CompiledFilled, CompiledForward
from tfcli.training.distributed import ALONE, Ranks
from tfcli.training.ema import Ema
from tfcli.training.freeze import freeze
from tfcli.training.label_loss import balanced_weights
from tfcli.training.muon import refuse_muon_without
from tfcli.training.optimizer import layer_matrices, make_optimizer
from tfcli.training.packer import Fill, Packer, RowPacker
from tfcli.training.random_states import seed_rank
from tfcli.training.recompute import recompute_layers
from tfcli.training.sharding import refuse_output_alone, shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tfcli.model.precision import Precision
    from tfcli.recipe.schema import Recipe
    from tfcli.training.optimizer import Optimizer
    from tfcli.training.run import Run


@dataclass(frozen=True)
class Learner:
    """The network with all that a step needs beside it; `forward` is the network, compiled or not."""

    model: Network
    forward: Callable[..., Tensor]
    optimizer: Optimizer
    device: torch.device
    precision: Precision
    label_smoothing: float
    clip_norm: float | None
    ema: Ema | None
    r_drop: float | None
    packer: Packer | RowPacker
    ranks: Ranks = ALONE
    class_weights: Tensor | None = None  # of a classifier's labels
    sharded: bool = False  # each rank has a part of the network, rather than all of it


def make_learner(run: Run) -> Learner:
    """Seed the random numbers, then build the network, the same on all ranks, and its optimizer."""
    torch.manual_seed(run.recipe.seed)
    training = run.recipe.training
    sharded = training.sharding and run.ranks.size > 1
    if training.sharding and not sharded:
        run.reporter.note(
            "training.sharding does nothing: there is one process, which holds the whole network"
        )
    model = build_network(run.config)
    if not sharded:  # it may not fit there as a whole
        model.to(run.device)
    model.train()
    for name in freeze(model, training.freeze):
        run.reporter.note(f"{name} is frozen, too: training.freeze names a matrix that it shares")
    ema = Ema(model, training.ema_decay) if training.ema_decay is not None else None
    if training.gradient_checkpointing:
        recompute_layers(model)
    for each in (model, *([] if ema is None else [ema.model])) if sharded else ():
        shard(each, run.ranks, run.device)
    packer = make_packer(run)
    forward: Callable[..., Tensor] = model
    if packer.fill is not None:
        forward = CompiledFilled(model, packer.fill.size)
    elif run.compiled and isinstance(run.prepared.train, TextIds):
        passes = 1 if training.r_drop is None else 2
        blocks = worst_blocks(run.prepared.train, training.batch_tokens).tgt_in
        forward = CompiledBlocks(model, passes * len(blocks), blocks.shape[1])
    elif run.compiled:
        forward = CompiledForward(model, run.device, run.precision, training.batch_tokens)
    optimizer = make_optimizer(model, training, run.precision)
    seed_rank(run.recipe.seed, run.ranks.rank)
    return Learner(
        model=model,
        forward=forward,
        optimizer=optimizer,
        device=run.device,
        precision=run.precision,
        label_smoothing=training.label_smoothing,
        clip_norm=training.clip_norm,
        ema=ema,
        r_drop=training.r_drop,
        packer=packer,
        ranks=run.ranks,
        class_weights=_class_weights(run),
        sharded=sharded,
    )


def _class_weights(run: Run) -> Tensor | None:
    labels = run.prepared.labels
    if labels is None or run.recipe.training.class_weights is None:
        return None
    return torch.tensor(balanced_weights(labels.texts), device=run.device)


def make_packer(run: Run) -> Packer | RowPacker:
    """Return what packs the batches of a run; they are filled up where the network is compiled for one size."""
    ds = run.prepared.train
    if isinstance(ds, TextIds):
        return RowPacker(run.device)
    fill = None
    if run.varlen and run.compiled:
        passes = 1 if run.recipe.training.r_drop is None else 2
        longest = max(2, int(ds.src_lengths.max()), int(ds.tgt_lengths.max()))
        fill = Fill(passes * run.recipe.training.batch_tokens, longest)
    return Packer(run.device, run.config.n_heads, run.varlen, fill, run.config.n_kv_heads)


def refuse_impossible(recipe: Recipe) -> None:
    """Find out, before any text is read, what cannot be done with the network that `recipe` describes.

    Raises: RecipeError.
    """
    training = recipe.training
    if not training.freeze and training.optimizer == "adamw":
        return  # nothing to find out, and torch's meta device takes seconds to load
    with torch.device("meta"):  # no vocabularies yet, and no memory for the weights
        model = build_network(ModelConfig.of(recipe, 16, 16, n_labels=16))
    freeze(model, training.freeze)
    if training.sharding:
        refuse_output_alone(model)
    if training.optimizer == "muon":
        refuse_muon_without(layer_matrices(model))
