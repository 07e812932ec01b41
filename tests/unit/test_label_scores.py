"""Labels: figures by hand, intervals and tests by sacreBLEU's method."""

import os
from collections.abc import Sequence

import numpy as np
import pytest
from sacrebleu.significance import PairedTest, _bootstrap_resample

from tfcli.errors import DataError
from tfcli.scoring.classification import accuracy, confusion, figures, labels_of, macro_f1, table
from tfcli.scoring.evaluation import HeldOutSet
from tfcli.scoring.measure import measure
from tfcli.scoring.plan import Plan
from tfcli.scoring.results import Confusion

REFERENCE = ["pos", "neg", "pos", "neu", "neg", "pos"]
SAID = ["pos", "pos", "pos", "neg", "neg", "neu"]


def test_the_figures_are_those_counted_by_hand() -> None:
    labels = labels_of(REFERENCE, SAID)
    found = confusion(SAID, REFERENCE, labels)
    assert found == Confusion(["neg", "neu", "pos"], [[1, 0, 1], [1, 0, 0], [0, 1, 2]])
    counts = np.array(found.counts)
    assert accuracy(counts) == 50.0
    assert macro_f1(counts) == pytest.approx(100 * (0.5 + 0.0 + 4 / 6) / 3)
    neg, neu, pos = figures(found)
    assert (neg.n_reference, neg.precision, neg.recall, neg.f1) == (2, 0.5, 0.5, 0.5)
    assert (neu.precision, neu.recall, neu.f1) == (0.0, 0.0, 0.0)
    assert (pos.n_reference, pos.precision, pos.recall) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_precision_is_the_right_share_of_what_was_said_and_recall_that_of_what_is_there() -> None:
    neg, pos = figures(confusion(["pos"] * 4, ["pos", "neg", "neg", "neg"], ["neg", "pos"]))
    assert (pos.precision, pos.recall, pos.f1) == (0.25, 1.0, pytest.approx(0.4))
    assert (neg.precision, neg.recall, neg.f1) == (0.0, 0.0, 0.0)


def test_a_label_that_neither_side_has_is_left_out_of_the_mean_and_one_of_one_side_is_not() -> None:
    assert macro_f1(table(np.array([0, 0]), 2)) == 100.0
    assert macro_f1(np.array([[1, 1], [0, 0]])) == pytest.approx(100 * (2 / 3 + 0) / 2)
    found = figures(confusion(["a", "c"], ["a", "b"], ["a", "b", "c"]))
    assert [(one.precision, one.recall, one.f1) for one in found[1:]] == [(0.0, 0.0, 0.0)] * 2


class Share:
    """Accuracy as sacreBLEU would count it: for each line whether it is right, and 1."""

    class Found:
        name = "share"

        def __init__(self, score: float) -> None:
            self.score = score

    def _extract_corpus_statistics(self, said: Sequence[str], _: object) -> list[list[int]]:
        return [[int(one == other), 1] for one, other in zip(said, self.reference, strict=True)]

    def _compute_score_from_stats(self, sums: Sequence[float]) -> Found:
        return self.Found(100 * float(sums[0]) / float(sums[1]))

    def _aggregate_and_compute(self, statistics: list[list[int]]) -> Found:
        return self._compute_score_from_stats(np.array(statistics).reshape(-1, 2).sum(0))

    def get_signature(self) -> dict[str, object]:
        return {}

    def __init__(self, reference: Sequence[str]) -> None:
        self.reference = reference


@pytest.mark.parametrize("paired", ["bs", "ar"])
def test_intervals_and_p_are_those_of_sacrebleus_own_resampling(
    paired: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = REFERENCE * 20
    systems = {"old": SAID * 20, "new": [*SAID[:3], *REFERENCE[3:]] + SAID * 18 + REFERENCE[1:] + SAID[:1]}
    plan = Plan(metrics=("accuracy", "macro-f1"), resamples=300, seed=7, paired=paired, trials=200)
    result = measure(HeldOutSet("set", None, [reference]), systems, plan, compared=True)
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    share = Share(reference)
    _, resampled = _bootstrap_resample(share._extract_corpus_statistics(systems["new"], None), share, 300)
    mine = result.judged.scores["accuracy"]
    assert mine.interval is not None
    scores = sorted(found.score for found in resampled)
    assert mine.interval.mean == pytest.approx(np.mean(scores))
    assert mine.interval.half_width == pytest.approx((scores[-8] - scores[7]) / 2)

    class Signature(dict):
        pass

    monkeypatch.setattr(Share, "get_signature", lambda self: Signature())
    Signature.update = lambda self, key, value: None
    n_samples = 300 if paired == "bs" else 200
    test = PairedTest(list(systems.items()), {"share": share}, None, paired, n_samples)
    _, columns = test()
    found = result.judged.comparisons["accuracy"]
    assert found.p_value == columns["share"][1].p_value
    assert 1 / (n_samples + 1) < found.p_value < 1  # neither end, where any test would come to the same
    assert found.difference == pytest.approx(columns["share"][1].score - columns["share"][0].score)
    assert f"|{paired}:{n_samples}|seed:7" in found.signature
    assert mine.signature == "nrefs:1|labels:3|bs:300|seed:7"
    assert os.environ["SACREBLEU_SEED"] == "7"
    assert result.judged.confusion == confusion(systems["new"], reference, ["neg", "neu", "pos"])


def test_without_resamples_there_is_the_score_alone_and_several_references_are_refused() -> None:
    plan = Plan(metrics=("macro-f1",), resamples=0)
    result = measure(HeldOutSet("set", None, [REFERENCE]), {"new": SAID}, plan)
    assert result.judged.scores["macro-f1"].interval is None
    assert result.judged.scores["macro-f1"].signature == "nrefs:1|labels:3"
    with pytest.raises(DataError, match="--metric macro-f1: it takes one reference, got 2"):
        measure(HeldOutSet("set", None, [REFERENCE, REFERENCE]), {"new": SAID}, plan)
