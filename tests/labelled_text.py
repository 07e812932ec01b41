"""A small corpus of texts with labels, which a small network learns at once: the animal tells the label."""

from random import Random

ANIMALS = {"pet": ("dog", "cat", "hamster"), "farm": ("cow", "pig", "goat"), "wild": ("wolf", "bear", "lynx")}
RECIPE = """\
name: animals
task: classification
seed: 3
data:
  train: [{tsv: train.tsv}]
  valid: {tsv: valid.tsv}
  tests: {test: {tsv: test.tsv}}
  max_pieces: 20
tokenizer: {kind: char, vocab_size: 60}
model: {preset: tiny, n_encoder_layers: 1, d_model: 32, d_ff: 64, n_heads: 2, dropout: 0.0}
training:
  {batch_tokens: 1024, max_steps: 60, learning_rate: 1e-2, warmup_steps: 10, log_every: 20, validate_every: 30,
   checkpoint_every: 30, keep_checkpoints: 2, precision: fp32}
expected: {test: {accuracy: 99, tolerance: 9}}
"""


def labelled(count, seed):
    """Return so many texts with their labels."""
    random = Random(seed)
    rows = []
    for _ in range(count):
        label = random.choice(sorted(ANIMALS))
        animal = random.choice(ANIMALS[label])
        rows.append(
            (f"{random.choice(['a', 'the', 'my'])} {animal} {random.choice(['runs', 'sits', 'eats'])}", label)
        )
    return rows


def tsv(rows):
    """Return rows as lines with tabs."""
    return "".join("\t".join(row) + "\n" for row in rows)


def write_labelled(folder, recipe=RECIPE):
    """Write a recipe and the text it names; return the recipe."""
    for seed, (name, count) in enumerate({"train": 300, "valid": 40, "test": 40}.items()):
        (folder / f"{name}.tsv").write_text(tsv(labelled(count, seed)))
    (folder / "animals.yaml").write_text(recipe)
    return folder / "animals.yaml"
