"""Parallel text of a toy language, the recipe that names it, and what a folder made of it holds."""

import random

from tfcli.recipe.schema import Recipe
from tfcli.text.files import CorpusFiles


def silent(message):
    pass


def sentences(count, seed=1):
    """Pairs of a toy language whose words are those of the source in capitals."""
    rng = random.Random("words")
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(1, 6))) for _ in range(60)]
    rng = random.Random(seed)
    src = [" ".join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(count)]
    return [(line, line.upper()) for line in src]


def files_of(folder, name, pairs):
    files = CorpusFiles(src=folder / f"{name}.src", tgt=folder / f"{name}.tgt", tsv=None)
    files.src.write_bytes("".join(src + "\n" for src, _ in pairs).encode())
    files.tgt.write_bytes("".join(tgt + "\n" for _, tgt in pairs).encode())
    return files


def recipe(data=(), tokenizer=(), **sections):
    files = {"train": [{"src": "s", "tgt": "t"}], "valid": {"src": "s", "tgt": "t"}}
    return Recipe.model_validate(
        {
            "name": "test",
            "data": {**files, **dict(data)},
            "tokenizer": {"vocab_size": 60, **dict(tokenizer)},
            **sections,
        }
    )


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "files.json"
    }
