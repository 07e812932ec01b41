"""What scores a network in validation, by its task: the same code as the verbs that run it and `eval`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tfcli.corpus.prepare import Prepared
    from tfcli.corpus.prepare_text import PreparedText
    from tfcli.model.networks import Network
    from tfcli.model.precision import Precision
    from tfcli.recipe.schema import Recipe


def validator(
    recipe: "Recipe", prepared: "Prepared | PreparedText", precision: "Precision"
) -> "Callable[[Network], float] | None":
    """Return what scores a network on the validation text: BLEU of its translations, or the accuracy of its labels.

    None for a language model, whose goal is the loss.
    """
    from tfcli.corpus.prepare import Prepared

    if not isinstance(prepared, Prepared):
        return None
    from tfcli.text.pairs import read_pairs

    pairs = list(read_pairs(prepared.valid_files))
    sources, references = [src for src, _ in pairs], [tgt for _, tgt in pairs]
    if recipe.task == "classification":
        return _accuracy(recipe, prepared, sources, references, precision)
    return _bleu(recipe, prepared, sources, references, precision)


def _bleu(
    recipe: "Recipe",
    prepared: "Prepared",
    sources: "Sequence[str]",
    references: "Sequence[str]",
    precision: "Precision",
) -> "Callable[[Network], float]":
    from tfcli.decoding.torch_engine import TorchEngine
    from tfcli.decoding.translator import Translator
    from tfcli.model.transformer import Transformer
    from tfcli.scoring.metrics import corpus_bleu

    def bleu(model: "Network") -> float:
        assert isinstance(model, Transformer)
        engine = TorchEngine(model, precision)
        translator = Translator(engine, prepared.tokenizer, recipe.decoding, recipe.max_source_pieces)
        hypotheses = [translation.text for translation in translator.translate(sources)]
        return corpus_bleu(hypotheses, [references], recipe.scoring)

    return bleu


def _accuracy(
    recipe: "Recipe",
    prepared: "Prepared",
    texts: "Sequence[str]",
    references: "Sequence[str]",
    precision: "Precision",
) -> "Callable[[Network], float]":
    from tfcli.decoding.labeller import Labeller
    from tfcli.model.networks import Classifier
    from tfcli.scoring.classification import accuracy_of

    assert prepared.labels is not None
    names = prepared.labels.names

    def accuracy(model: "Network") -> float:
        assert isinstance(model, Classifier)
        labeller = Labeller(model, prepared.tokenizer, names, recipe.data.max_pieces, precision)
        return accuracy_of([found.best for found in labeller.label(texts)], references)

    return accuracy
