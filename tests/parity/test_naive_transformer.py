"""The network with its modern choices against one written in loops, a head and a query at a time, with the same weights."""

import math

import pytest
import torch

CHOICES = {
    "rms": {"norm_kind": "rms"},
    "swiglu": {"activation": "swiglu"},
    "rotary": {"positions": "rotary"},
    "grouped": {"n_kv_heads": 2},
    "one key head": {"n_kv_heads": 1},
    "qk norm": {"qk_norm": True},
    "no bias": {"bias": False},
    "all": {
        "norm_kind": "rms", "activation": "swiglu", "positions": "rotary", "n_kv_heads": 2, "qk_norm": True,
        "bias": False,
    },
}  # fmt: skip
SRC = [5, 9, 4, 17, 3]
TGT = [2, 11, 6, 8, 20, 7]


class Naive:
    """One sentence at a time; `weights` by the names of a model folder."""

    def __init__(self, weights, config):
        self.weights, self.config = weights, config
        self.width = config.d_model // config.n_heads

    def linear(self, name, x):
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        assert (bias is not None) == self.config.bias
        return torch.stack([sum_of(weight * row) + (0 if bias is None else bias) for row in x])

    def norm(self, name, x):
        gain, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        assert (bias is not None) == (self.config.bias and self.config.norm_kind == "layer")
        rows = []
        for row in x:
            centred = row - row.mean() if self.config.norm_kind == "layer" else row
            scaled = centred / torch.sqrt((centred**2).mean() + 1e-5) * gain
            rows.append(scaled if bias is None else scaled + bias)
        return torch.stack(rows)

    def head(self, name, vector, position=None):
        """Normalise and turn a head's vector, as far as the configuration has it so."""
        if self.config.qk_norm and "self" in name:
            gain = self.weights[f"{name}.weight"]
            vector = vector / torch.sqrt((vector**2).mean() + 1e-5) * gain
        if position is None or self.config.positions != "rotary":
            return vector
        turned, half = vector.clone(), self.width // 2
        for i in range(half):
            angle = position * 10_000 ** (-2 * i / self.width)
            a, b = vector[i], vector[i + half]
            turned[i] = a * math.cos(angle) - b * math.sin(angle)
            turned[i + half] = a * math.sin(angle) + b * math.cos(angle)
        return turned

    def attention(self, name, queries, keys, values, *, causal, ordered):
        """Attend with rows (T, D), (S, G*E) and (S, G*E)."""
        shared_by = self.config.n_heads // (self.config.n_kv_heads or self.config.n_heads)
        rows = []
        for t, query in enumerate(queries):
            heads = []
            for h in range(self.config.n_heads):
                own = slice(h * self.width, (h + 1) * self.width)
                theirs = slice(h // shared_by * self.width, (h // shared_by + 1) * self.width)
                q = self.head(f"{name}.q_norm", query[own], t if ordered else None)
                seen = range(t + 1) if causal else range(len(keys))
                ks = [self.head(f"{name}.k_norm", keys[s][theirs], s if ordered else None) for s in seen]
                scores = torch.stack([q @ k / math.sqrt(self.width) for k in ks])
                weights = scores.softmax(0)
                heads.append(sum(w * values[s][theirs] for w, s in zip(weights, seen, strict=True)))
            rows.append(torch.cat(heads))
        return self.linear(f"{name}.out", torch.stack(rows))

    def self_attention(self, name, x, *, causal):
        made = self.linear(f"{name}.qkv", x)
        d, g = self.config.d_model, (made.shape[1] - self.config.d_model) // 2
        return self.attention(
            name, made[:, :d], made[:, d : d + g], made[:, d + g :], causal=causal, ordered=True
        )

    def cross_attention(self, name, x, memory):
        made = self.linear(f"{name}.kv", memory)
        keys, values = made.chunk(2, dim=1)
        return self.attention(name, self.linear(f"{name}.q", x), keys, values, causal=False, ordered=False)

    def feed_forward(self, name, x):
        up = self.linear(f"{name}.up", x)
        if self.config.activation == "swiglu":
            gate = self.linear(f"{name}.gate", x)
            return self.linear(f"{name}.down", gate * torch.sigmoid(gate) * up)
        return self.linear(f"{name}.down", up.clamp(min=0))

    def add(self, name, x, sub_layer):
        norm = f"{name}_norm"
        if self.config.norm == "pre":
            return x + sub_layer(name, self.norm(norm, x))
        return self.norm(norm, x + sub_layer(name, x))

    def embedded(self, side, ids):
        rows = []
        for t, piece in enumerate(ids):
            row = self.weights[f"{side}_embedding.pieces.weight"][piece] * math.sqrt(self.config.d_model)
            if self.config.positions == "sinusoidal":
                for i in range(0, self.config.d_model, 2):
                    angle = t / 10_000 ** (i / self.config.d_model)
                    row = row + torch.eye(self.config.d_model)[i] * math.sin(angle)
                    row = row + torch.eye(self.config.d_model)[i + 1] * math.cos(angle)
            rows.append(row)
        return torch.stack(rows)

    def last_norm(self, stack, x):
        return self.norm(f"{stack}_norm", x) if self.config.norm == "pre" else x

    def encode(self, src):
        x = self.embedded("src", src)
        for i in range(self.config.n_encoder_layers):
            name = f"encoder.{i}."
            x = self.add(f"{name}self_attention", x, lambda n, y: self.self_attention(n, y, causal=False))
            x = self.add(f"{name}feed_forward", x, self.feed_forward)
        return self.last_norm("encoder", x)

    def decode(self, tgt, memory):
        x = self.embedded("tgt", tgt)
        for i in range(self.config.n_decoder_layers):
            name = f"decoder.{i}."
            x = self.add(f"{name}self_attention", x, lambda n, y: self.self_attention(n, y, causal=True))
            if memory is not None:
                x = self.add(f"{name}cross_attention", x, lambda n, y: self.cross_attention(n, y, memory))
            x = self.add(f"{name}feed_forward", x, self.feed_forward)
        return self.last_norm("decoder", x)


def sum_of(products):
    return products.sum(dim=1)


def shaken(model):
    """Change every weight, so that none is 0 or 1 where an error could hide."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def weights_of(model):
    return {name: weight.detach() for name, weight in model.named_parameters(remove_duplicate=False)}


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("changes", CHOICES.values(), ids=CHOICES)
def test_states_equal_those_of_a_network_written_in_loops(tiny_model, changes, norm):
    model = shaken(tiny_model(norm=norm, tie_embeddings="none", **changes))
    naive = Naive(weights_of(model), model.config)
    with torch.no_grad():
        expected = naive.decode(TGT, naive.encode(SRC))
        found = model(torch.tensor([SRC]), torch.tensor([TGT]))[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_no_weight_is_left_over_that_the_loops_do_not_use(tiny_model):
    model = shaken(tiny_model(tie_embeddings="none", **CHOICES["all"]))
    naive = Naive({name: weight.requires_grad_() for name, weight in weights_of(model).items()}, model.config)
    naive.decode(TGT, naive.encode(SRC)).pow(2).sum().backward()
    unused = {name for name, weight in naive.weights.items() if weight.grad is None or not weight.grad.any()}
    assert unused == {"output.weight"}
