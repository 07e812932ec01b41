"""How a batch goes into the network while it learns: the pieces of its sentences one after the other, without padding.

A compiled graph of fixed sizes wants every batch to have as many pieces. For it, batches are filled up to one size with
sentences of padding, which attend to themselves alone; the states of the filling are left out of the loss, so that it
changes neither the loss nor a gradient. Filling costs as much as the batches fall short of `batch_tokens`, a tenth or so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfcli.model.layout import Packing
from tfcli.model.varlen import VarlenPacking, to_device
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from tfcli.corpus.batches import Batch
    from tfcli.model.layout import AnyPacking

TILE = 128  # sizes are multiples of the tile in which a GPU multiplies matrices


class Packed(NamedTuple):
    """A batch on the device.

    Shapes: src (N,); tgt_in (N',), of which the first M are pieces and the others filling; gold (M,).
    """

    src: Tensor
    tgt_in: Tensor
    src_packing: AnyPacking
    tgt_packing: AnyPacking
    gold: Tensor


@dataclass(frozen=True)
class Fill:
    """The size to which batches are filled up that have at most `pieces` on either side, in sentences up to `longest`.

    A batch of less than two thirds is not filled: the last one of an epoch, or a part of one that did not fit into
    memory as a whole.
    """

    pieces: int
    longest: int  # at least 2

    @property
    def size(self) -> int:
        """Pieces after filling, so many that each sentence of the filling has at least one on both sides."""
        return -(-self.pieces * self.longest // ((self.longest - 1) * TILE)) * TILE

    def lengths(self, src_pieces: int, tgt_pieces: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Return the lengths of the filling's sentences on both sides; None where a batch is not filled."""
        larger = max(src_pieces, tgt_pieces)
        if larger > self.pieces or 3 * larger < 2 * self.pieces:
            return None
        missing = self.size - src_pieces, self.size - tgt_pieces
        n_sentences = -(-max(missing) // self.longest)
        src, tgt = (
            each // n_sentences + (np.arange(n_sentences) < each % n_sentences).astype(np.int64)
            for each in missing
        )
        return src, tgt


class Rows(NamedTuple):
    """Blocks of running text on the device.

    Shapes: ids (B, T), gold (B * T,).
    """

    ids: Tensor
    gold: Tensor


@dataclass(frozen=True)
class RowPacker:
    """Leaves blocks of running text as they are: they are of one length, and there is no padding to be left out."""

    device: torch.device
    fill: None = None

    def pack(self, batch: Batch) -> Rows:
        """Return a batch as a language model takes it."""
        return Rows(to_device(batch.tgt_in, self.device), to_device(batch.tgt_out.ravel(), self.device))


@dataclass(frozen=True)
class Packer:
    """Packs batches for a network with so many heads, for torch's kernel if `varlen`."""

    device: torch.device
    n_heads: int
    varlen: bool = False
    fill: Fill | None = None
    n_kv_heads: int | None = None

    def pack(self, batch: Batch) -> Packed:
        """Return a batch as the network takes it; pieces are where its rows have no padding."""
        src_real, tgt_real = (each != Tokenizer.pad_id for each in (batch.src, batch.tgt_out))
        src_lengths, tgt_lengths = (each.sum(axis=1) for each in (src_real, tgt_real))
        src, tgt_in, gold = batch.src[src_real], batch.tgt_in[tgt_real], batch.tgt_out[tgt_real]
        filling = self.fill.lengths(len(src), len(tgt_in)) if self.fill is not None else None
        if filling is not None:
            src, src_lengths = _filled(src, src_lengths, filling[0])
            tgt_in, tgt_lengths = _filled(tgt_in, tgt_lengths, filling[1])
        return Packed(
            to_device(src, self.device),
            to_device(tgt_in, self.device),
            self._packing(src_lengths),
            self._packing(tgt_lengths),
            to_device(gold, self.device),
        )

    def _packing(self, lengths: NDArray[np.integer[Any]]) -> AnyPacking:
        if not self.varlen:
            return Packing.of(lengths, self.n_heads, self.device, self.n_kv_heads)
        longest = self.fill.longest if self.fill is not None else int(lengths.max())
        return VarlenPacking.of(lengths, longest, self.device)


def _filled(
    ids: NDArray[np.int64], lengths: NDArray[np.integer[Any]], filling: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    padding = np.full(filling.sum(), Tokenizer.pad_id)
    return np.concatenate([ids, padding]), np.concatenate([lengths, filling])
