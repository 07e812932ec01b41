"""Texts with labels: fields of lines, ids of labels, texts that are cut, and the loss."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tfcli.corpus.batches import Batch
from tfcli.corpus.labels import Labels
from tfcli.corpus.shards import IdBlock
from tfcli.errors import DataError, RecipeError
from tfcli.model.config import ModelConfig
from tfcli.model.networks import Classifier
from tfcli.recipe.corpora import DataSection
from tfcli.recipe.loader import build_recipe
from tfcli.text.fields import UnfitLineError
from tfcli.text.files import CorpusFiles
from tfcli.text.labelled import LabelFields
from tfcli.text.pairs import TextBlock, count_pairs, read_pairs
from tfcli.training.label_loss import balanced_weights, label_loss
from tfcli.training.packer import Packer
from tfcli.training.step import batch_loss


def fields(*, is_json=False, **places):
    data = DataSection.model_validate({"train": [{"tsv": "a"}], "valid": {"tsv": "b"}})
    return LabelFields.of(data.model_copy(update=places), is_json=is_json)


@pytest.mark.parametrize(
    ("line", "places", "expected"),
    [
        ("a dog\tpet", {}, ("a dog", "pet")),
        ("a dog\tpet\r", {}, ("a dog", "pet")),
        ("pet\ta dog", {"text_field": 2, "label_field": 1}, ("a dog", "pet")),
        ("1\ta\tb\tyes", {"text_field": 2, "second_text_field": 3, "label_field": 4}, ("a <sep> b", "yes")),
        ("\tpet", {}, ("", "pet")),
    ],
)
def test_columns_hold_text_and_label(line, places, expected):
    assert fields(**places).fitting(line).take(line) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "a dog", "label": "pet", "more": 1}, ("a dog", "pet")),
        ({"text": "a\ndog", "label": 3}, ("a dog", "3")),
        ({"text": "half \ud800", "label": " x "}, ("half \ufffd", "x")),
    ],
)
def test_keys_hold_text_and_label(row, expected):
    assert fields(is_json=True).take(json.dumps(row)) == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "what is no JSON"),
        ("[1]", "another kind of JSON"),
        ('{"text": "a"}', "no key 'label' in the object; it has text"),
        ('{"text": 1, "label": "x"}', "the text 'text' must be text, got 1"),
        ('{"text": "a", "label": true}', "the label must be text or a whole number, got true"),
        ('{"text": "a", "label": null}', "the label must be text or a whole number, got null"),
        ('{"text": "a", "label": " "}', "the label is empty"),
        (
            '{"text": "a", "label": "x\\\\ty"}'.replace("\\\\", "\\"),
            "the label 'x<U\\+0009>y' holds a tab",
        ),
    ],
)
def test_json_lines_that_cannot_be_used_say_why(line, complaint):
    with pytest.raises(UnfitLineError, match=complaint):
        fields(is_json=True).take(line)


def test_a_file_with_labels_is_read_as_pairs_and_complained_of_by_line(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("a\u2028dog\tpet\na cow\tfarm")
    files = CorpusFiles(None, None, path, None, fields())
    assert list(read_pairs(files)) == [("a\u2028dog", "pet"), ("a cow", "farm")]
    assert count_pairs(files) == 2
    path.write_text("a dog\tpet\n\npet\n")
    with pytest.raises(DataError, match=r"a.tsv:3: expected 2 fields, parted by tabs, got 1 field"):
        list(read_pairs(files))


def test_labels_are_ids_from_one_on_each_a_sentence_of_one_piece(tmp_path):
    labels = Labels(("farm", "pet"), (3, 4))
    block = labels.ids(["pet", "farm", "pet"], _block(tmp_path))
    assert block.ids.tolist() == [2, 1, 2]
    assert block.lengths.tolist() == [1, 1, 1]
    with pytest.raises(DataError, match=r"a.tsv:12: the label 'pets' is not one of .*, did you mean 'pet'\?"):
        labels.ids(["farm", "farm", "pets"], _block(tmp_path))


def _block(tmp_path):
    return TextBlock(0, (tmp_path / "a.tsv",), True, 10, 3, (b"",))


def test_a_sentence_that_is_too_long_keeps_its_beginning_and_the_end_mark():
    block = IdBlock.of([[5, 6, 7, 3], [3], [8, 9, 3], [4, 5, 6, 7, 8, 3]], np.dtype("<u2"))
    cut, n = block.cut(3)
    assert n == 2
    assert cut.lengths.tolist() == [3, 1, 3, 3]
    assert cut.ids.tolist() == [5, 6, 3, 3, 8, 9, 3, 4, 5, 3]
    assert block.cut(6) == (block, 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_sum_of_torchs_cross_entropy(smoothing):
    torch.manual_seed(1)
    logits, gold = torch.randn(7, 4, requires_grad=True), torch.tensor([0, 1, 2, 3, 3, 3, 1])
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    loss, nll = label_loss(logits, gold, smoothing, None)
    expected = torch.nn.functional.cross_entropy(logits, gold, reduction="sum", label_smoothing=smoothing)
    assert torch.allclose(loss, expected)
    assert torch.allclose(nll, torch.nn.functional.cross_entropy(logits, gold, reduction="sum"))
    assert not nll.requires_grad
    weighted, same = label_loss(logits, gold, smoothing, weights)
    each = [label_loss(logits[i : i + 1], gold[i : i + 1], smoothing, None)[0] for i in range(7)]
    assert torch.allclose(weighted, sum(weights[gold[i]] * each[i] for i in range(7)))
    assert same == nll


def test_r_drop_adds_the_divergence_of_two_passes_to_the_mean_of_their_losses():
    torch.manual_seed(1)
    logits, gold = torch.randn(8, 5, requires_grad=True), torch.tensor([0, 4, 2, 2])
    twice_gold, weights = torch.cat([gold, gold]), torch.tensor([0.5, 1.0, 2.0, 4.0, 1.5])
    loss, nll = label_loss(logits, twice_gold, 0.1, weights, r_drop=3.0)
    p, q = (torch.log_softmax(half, dim=-1) for half in logits.chunk(2))
    kl = torch.nn.functional.kl_div
    expected = 0.0
    for row, label in enumerate(gold):
        both = torch.stack([logits[row], logits[row + 4]])
        means = torch.nn.functional.cross_entropy(both, label.expand(2), label_smoothing=0.1)
        divergence = kl(q[row], p[row], log_target=True, reduction="sum") + kl(
            p[row], q[row], log_target=True, reduction="sum"
        )
        expected = expected + weights[label] * (means + 3.0 * divergence / 4)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        nll, torch.nn.functional.cross_entropy(logits, twice_gold, reduction="sum") / 2
    )
    assert not nll.requires_grad
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])


def test_a_batch_of_texts_goes_through_the_network_twice_with_r_drop_and_counts_once():
    config = ModelConfig(
        src_vocab_size=20, tgt_vocab_size=20, n_encoder_layers=1, n_decoder_layers=0, d_model=8, d_ff=16, n_heads=2,
        dropout=0.5, attention_dropout=0.0, norm="pre", positions="sinusoidal", activation="relu",
        tie_embeddings="none", max_positions=16, n_labels=3,
    )  # fmt: skip
    torch.manual_seed(2)
    model = Classifier(config)
    learner = SimpleNamespace(
        model=model, forward=model, packer=Packer(torch.device("cpu"), 2), device=torch.device("cpu"), precision="fp32",
        class_weights=None,
    )  # fmt: skip
    labels = np.array([[1], [3]])
    batch = Batch(np.array([[4, 5, 3], [6, 3, 0]]), labels, labels, np.array([0, 1]))
    found = {}
    for r_drop in (1e-9, 5.0):
        torch.manual_seed(3)
        found[r_drop] = batch_loss(learner, batch, 0.0, r_drop)
    assert found[5.0][1] == found[1e-9][1]  # the same dropout
    assert found[5.0][0] > found[1e-9][0] + 0.01  # what dropout makes different costs
    torch.testing.assert_close(found[1e-9][0], found[1e-9][1])
    model.eval()
    plain, _ = batch_loss(learner, batch, 0.0)
    both, _ = batch_loss(learner, batch, 0.0, 5.0)
    torch.testing.assert_close(both, plain)  # without dropout nothing differs, and each text counts once


def test_balanced_weights_give_each_label_the_same_sum_and_a_text_one_on_average():
    texts = [10, 30, 60]
    weights = balanced_weights(texts)
    assert [w * n for w, n in zip(weights, texts, strict=True)] == pytest.approx([100 / 3] * 3)


def test_a_label_without_a_text_to_be_trained_on_weighs_nothing_and_makes_the_others_no_lighter():
    assert balanced_weights([10, 0, 30]) == pytest.approx([2.0, 0.0, 2 / 3])


def recipe(**data):
    return build_recipe(
        {
            "name": "a",
            "task": "classification",
            "data": {"train": [{"tsv": "a"}], "valid": {"fraction": 0.1}, **data},
        }
    )


def test_a_second_text_brings_its_separator_into_the_tokenizer():
    assert recipe().tokenizer.symbols == []
    assert recipe(second_text_field=3).tokenizer.symbols == ["<sep>"]


def test_fields_must_suit_the_kind_of_file():
    with pytest.raises(RecipeError, match="JSON lines have keys with names, got 2"):
        recipe(train=[{"jsonl": "a"}], label_field=2)
    with pytest.raises(RecipeError, match="TSV files have columns, counted from 1, got 'x'"):
        recipe(second_text_field="x")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"text_field": 2}, "data.text_field: column 2 is data.label_field already, by default: give that as well"),
        ({"label_field": 1}, "data.label_field: column 1 is data.text_field already, by default"),
        ({"second_text_field": 2}, "data.second_text_field: column 2 is data.label_field already, by default"),
        ({"second_text_field": 1, "label_field": 3}, "data.second_text_field: column 1 is data.text_field already"),
        ({"text_field": 3, "second_text_field": 3}, "data.text_field: column 3 is data.second_text_field already$"),
        (
            {"train": [{"jsonl": "a"}], "valid": {"jsonl": "b"}, "text_field": "label"},
            "data.text_field: the key 'label' is data.label_field already, by default",
        ),
    ],
)  # fmt: skip
def test_two_fields_of_one_place_are_refused(data, complaint):
    with pytest.raises(RecipeError, match=f"(?m){complaint}"):
        recipe(**data)


def test_fields_that_stand_apart_are_taken():
    assert recipe(text_field=2, label_field=1).data.label_field == 1
    assert recipe(second_text_field=3).data.second_text_field == 3
