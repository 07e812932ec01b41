"""How fast batches are cut into pieces anew for subword regularization, beside batches as they are stored.

    python benchmarks/subwords.py [--strength 0.1] [--epochs 3]

Takes the text of reference.yaml and makes all batches of each epoch on one core, for a unigram tokenizer and for bpe. The
first epoch also meets every word for the first time. Rates are in pairs and in target pieces that are no padding.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from tfcli.corpus.batches import TrainingBatches
from tfcli.corpus.prepare import prepare
from tfcli.corpus.resample import gather_anew
from tfcli.recipe.loader import load_recipe
from tfcli.text.files import data_roots, locate

RECIPE = Path(__file__).with_name("reference.yaml")


def epoch(batches: TrainingBatches) -> tuple[float, int, int, int]:
    """Make the batches of one epoch; return the seconds, and how many pairs, target pieces and padded positions."""
    started, number = time.perf_counter(), batches.position.epoch
    pairs = pieces = positions = 0
    while batches.position.epoch == number:
        batch = batches.next_batch()
        pairs += len(batch.indices)
        pieces += batch.n_tokens
        positions += batch.src.size + batch.tgt_out.size
    return time.perf_counter() - started, pairs, pieces, positions


def main() -> None:
    """Measure and print a line for each epoch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strength", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    for kind in ("unigram", "bpe"):
        wishes = [f"training.subword_regularization={options.strength}", f"tokenizer.kind={kind}"]
        recipe = load_recipe(RECIPE, wishes)
        roots = data_roots(recipe, RECIPE.parent, None)
        train = [locate(corpus, roots, "data.train", print) for corpus in recipe.data.train]
        valid = locate(recipe.data.valid, roots, "data.valid", print)
        with tempfile.TemporaryDirectory() as folder:
            prepared = prepare(recipe, train, valid, Path(folder), lambda _: None)
            ds, size = prepared.train, recipe.training.batch_tokens
            stored = epoch(TrainingBatches(ds, size, recipe.seed))
            print(f"{kind:8} as stored {stored[1] / stored[0]:10,.0f} pairs/s")
            gather = gather_anew(recipe, prepared.tokenizer, ds)
            batches = TrainingBatches(ds, size, recipe.seed, gather=gather)
            for number in range(1, options.epochs + 1):
                seconds, pairs, pieces, positions = epoch(batches)
                print(
                    f"{kind:8} epoch {number:3} {pairs / seconds:10,.0f} pairs/s {pieces / seconds:10,.0f} target pieces/s; "
                    f"pieces x {pieces / stored[2]:.2f}, padded positions x {positions / stored[3]:.2f}"
                )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
