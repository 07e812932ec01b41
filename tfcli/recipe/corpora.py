"""The corpora of a recipe: where text lies, what validates, and what is dropped from the training text."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from tfcli.recipe.section import Name, Path, PositiveInt, Section, Sha256, contradiction

SEPARATOR = "<sep>"
"""The piece between a first and a second text; it joins `tokenizer.symbols` where there is a second one."""
Place = PositiveInt | Annotated[str, StringConstraints(min_length=1)] | None
"""A column of TSV files, counted from 1, or a key of JSON lines."""
FIELDS: dict[str, dict[str, int | str | None]] = {
    "tsv": {"text_field": 1, "second_text_field": None, "label_field": 2},
    "jsonl": {"text_field": "text", "second_text_field": None, "label_field": "label"},
}
"""Where texts and labels stand in each kind of file unless a recipe says otherwise."""


class Corpus(Section):
    """Aligned text: either two files, line i of one belonging to line i of the other, or one TSV file. Text with labels:
    one TSV file, or one of JSON lines. Running text: one file."""

    src: Path | None = None
    """Source side: one sentence a line, UTF-8; plain, .gz or .xz; relative to `data.root`."""
    tgt: Path | None = None
    """Target side, as many lines as the source side."""
    tsv: Path | None = None
    """One file with source, a tab, and target on each line, instead of `src` and `tgt`; of a classifier, with text, a
    tab, and label, or more columns."""
    jsonl: Path | None = None
    """One file with a JSON object on each line, which holds a text and its label."""
    text: Path | None = None
    """Running text of a language model, whose spaces and line ends count; UTF-8; plain, .gz or .xz."""
    src_url: str | None = None
    """Where to fetch the source side from, once, when it is not there."""
    tgt_url: str | None = None
    """Where to fetch the target side from."""
    tsv_url: str | None = None
    """Where to fetch the TSV file from."""
    jsonl_url: str | None = None
    """Where to fetch the JSON lines from."""
    text_url: str | None = None
    """Where to fetch the running text from."""
    src_sha256: Sha256 | None = None
    """SHA-256 of the source side's uncompressed content, in hexadecimal."""
    tgt_sha256: Sha256 | None = None
    """SHA-256 of the target side's uncompressed content."""
    tsv_sha256: Sha256 | None = None
    """SHA-256 of the TSV file's uncompressed content."""
    jsonl_sha256: Sha256 | None = None
    """SHA-256 of the uncompressed content of the JSON lines."""
    text_sha256: Sha256 | None = None
    """SHA-256 of the running text's uncompressed content."""

    @model_validator(mode="after")
    def _two_files_or_one(self) -> Self:
        if self.tsv is not None and self.jsonl is not None:
            raise contradiction("jsonl", "give either 'tsv' or 'jsonl', not both")
        if (
            self.text is None
            and self.tsv is None
            and self.jsonl is None
            and (self.src is None or self.tgt is None)
        ):
            missing = "tgt" if self.src is not None else "src"
            raise contradiction(
                missing,
                "give both 'src' and 'tgt', or one 'tsv'; of text with labels one 'tsv' or 'jsonl'; of running text "
                "one 'text'",
            )
        if self.tsv is not None and (self.src is not None or self.tgt is not None):
            raise contradiction("tsv", "give either 'tsv' or 'src' and 'tgt', not both")
        for side in ("src", "tgt", "tsv", "jsonl", "text"):
            for suffix in ("url", "sha256"):
                if getattr(self, f"{side}_{suffix}") is not None and getattr(self, side) is None:
                    raise contradiction(f"{side}_{suffix}", f"describes '{side}', which is not given")
        return self


class Validation(Corpus):
    """Aligned text, or how much of the training text is held out for the purpose: `pairs` or `fraction`."""

    pairs: PositiveInt | None = None
    """This many pairs of the training text, chosen by a hash of their sources, are held out of training; or texts with labels."""
    fraction: Annotated[float, Field(gt=0, le=0.5)] | None = None
    """About this share of the training text's pairs, or texts with labels, is held out, likewise; of running text its last
    part, counted in characters."""

    @property
    def held_out(self) -> bool:
        """Whether the pairs come out of the training text."""
        return self.pairs is not None or self.fraction is not None

    @model_validator(mode="after")
    def _two_files_or_one(self) -> Self:
        if not self.held_out:
            return super()._two_files_or_one()  # type: ignore[operator,no-any-return]
        given = [key for key in self.model_fields_set if getattr(self, key) is not None]
        if len(given) > 1:
            others = ", ".join(f"'{key}'" for key in sorted(given))
            raise contradiction(min(given), f"give files, or 'pairs', or 'fraction', got {others}")
        return self


class DataSection(Section):
    """The corpora and what is dropped from the training text."""

    src_lang: str | None = None
    """Source language, as in `en`; for reports and the model card."""
    tgt_lang: str | None = None
    """Target language, as in `de`."""
    root: Path = "."
    """Folder that relative data paths start from, after those that `--data-root` and TFCLI_DATA name."""
    train: Annotated[list[Corpus], Field(min_length=1)]
    """Training corpora; one epoch is every kept pair of all of them once."""
    valid: Validation
    """Validation corpus: chooses the best checkpoint. Files are never cleaned; `pairs: 1000` or `fraction: 0.01`
    holds pairs out of the training text instead."""
    tests: dict[Name, Corpus] = Field(default_factory=dict)
    """Test sets by name, for `tfcli eval`. Never cleaned."""
    max_pieces: PositiveInt = 200
    """Training pairs with a side longer than this are dropped, and a classifier's texts are cut there, in training and
    later; unit: pieces, end mark not counted."""
    max_length_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = 9.0
    """Training pairs are dropped when one side has this many times the pieces of the other, and over 10 pieces
    more; null: keep all."""
    drop_duplicates: bool = False
    """Drop a training pair that stood before, both sides being the same."""
    drop_identical: bool = False
    """Drop a training pair whose source and target are the same text."""
    text_field: Place = None
    """Where a text stands: a column of TSV files, counted from 1, or a key of JSON lines; null: column 1, or `text`."""
    label_field: Place = None
    """Where its label stands; null: column 2, or `label`."""
    second_text_field: Place = None
    """Where a second text stands, if a label is one of a pair of texts; the piece `<sep>` joins the two."""

    @model_validator(mode="after")
    def _fields_suit_the_files(self) -> Self:
        corpora = [*self.train, self.valid, *self.tests.values()]
        for key in ("text_field", "label_field", "second_text_field"):
            place = getattr(self, key)
            if isinstance(place, str) and any(corpus.tsv for corpus in corpora):
                raise contradiction(key, f"TSV files have columns, counted from 1, got '{place}'")
            if isinstance(place, int) and any(corpus.jsonl for corpus in corpora):
                raise contradiction(key, f"JSON lines have keys with names, got {place}")
        for kind in FIELDS:
            if any(getattr(corpus, kind) for corpus in corpora):
                self._refuse_one_field_twice(kind)
        return self

    def fields(self, kind: str) -> dict[str, int | str | None]:
        """Return where texts and labels stand in files of a kind, `tsv` or `jsonl`; None: nowhere."""
        return {key: getattr(self, key) or default for key, default in FIELDS[kind].items()}

    def _refuse_one_field_twice(self, kind: str) -> None:
        for (one, place), (other, other_place) in combinations(self.fields(kind).items(), 2):
            if place is None or place != other_place:
                continue
            key, taken = (one, other) if getattr(self, one) is not None else (other, one)
            what = f"column {place}" if kind == "tsv" else f"the key '{place}'"
            default = ", by default: give that as well" if getattr(self, taken) is None else ""
            raise contradiction(key, f"{what} is data.{taken} already{default}")

    context: PositiveInt = 256
    """Pieces of a block of running text, which is as far back as a language model looks; a begin mark in place of the
    last is counted in."""
