"""A few numbers that must never change without somebody meaning it.

The weights are a fixed ramp, not random draws, so no generator's history matters. `python tests/golden/test_forward.py`
prints the values anew; say in the commit why they changed.
"""

import pytest
import torch

from tfcli.decoding.beam import beam_search
from tfcli.decoding.engine import SearchSettings
from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.decoding.search import TransformerNextPiece
from tfcli.model.config import ModelConfig
from tfcli.model.transformer import Transformer
from tfcli.training.loss import smoothed_cross_entropy

CONFIG = ModelConfig(
    src_vocab_size=11, tgt_vocab_size=11, n_encoder_layers=1, n_decoder_layers=1, d_model=8, d_ff=12, n_heads=2,
    dropout=0.0, attention_dropout=0.0, norm="pre", positions="sinusoidal", activation="relu", tie_embeddings="all",
    max_positions=16,
)  # fmt: skip
SRC = torch.tensor([[4, 5, 6, 3], [7, 8, 3, 0]])
TGT_IN = torch.tensor([[2, 9, 10], [2, 4, 0]])
TGT_OUT = torch.tensor([[9, 10, 3], [4, 3, 0]])


def ramp_model():
    model = Transformer(CONFIG).eval()
    names = [name for name, _ in model.named_parameters()]
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            ramp = (torch.arange(parameter.numel(), dtype=torch.float64) * 37 + 11 * i) % 101 / 50 - 1
            scale = 0.7 if parameter.dim() > 1 else 0.2
            start = 1.0 if parameter.dim() == 1 and "norm.weight" in names[i] else 0.0
            parameter.copy_((start + scale * ramp).view(parameter.shape))
    return model


def values():
    model = ramp_model()
    with torch.no_grad():
        states = model(SRC, TGT_IN)
        real = TGT_OUT.flatten().nonzero()[:, 0]
        loss, nll = smoothed_cross_entropy(
            states.flatten(0, 1)[real], model.output.weight, TGT_OUT.flatten()[real], 0.1
        )
        found = beam_search(
            TransformerNextPiece(model, SRC),
            torch.tensor([6, 6]),
            SearchSettings(beam_size=3, length_penalty=LengthPenalty(1.0)),
        )
    return {
        "logits": [round(value, 5) for value in model.logits(states)[0, 2].tolist()],
        "loss": round(float(loss), 5),
        "nll": round(float(nll), 5),
        "best": [(list(best.ids), round(best.score, 5)) for (best,) in found],
    }


GOLDEN = {
    "logits": [
        -0.30723, 0.38018, 0.59434, 0.06601, 0.06665, 0.06729, -0.92948, -0.50246, -0.50182, 1.4226, 1.42324
    ],
    "loss": 10.88404,
    "nll": 10.55172,
    "best": [([9, 10, 10, 10, 10], -1.81673), ([4], -2.10947)],
}  # fmt: skip


def test_logits_loss_and_search_are_what_they_were():
    now = values()
    assert now["logits"] == pytest.approx(GOLDEN["logits"], abs=2e-5)
    assert now["loss"] == pytest.approx(GOLDEN["loss"], abs=1e-4)
    assert now["nll"] == pytest.approx(GOLDEN["nll"], abs=1e-4)
    assert [ids for ids, _ in now["best"]] == [ids for ids, _ in GOLDEN["best"]]
    assert [score for _, score in now["best"]] == pytest.approx(
        [score for _, score in GOLDEN["best"]], abs=2e-5
    )


if __name__ == "__main__":
    print(values())
