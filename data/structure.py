"""What a sentence is made of: words of the lexicon, noun phrases, and clauses that belong to no language.

A `Clause` says who does what to whom, when, and in which mode; `english.py` and `german.py` each turn it
into words. Modes: present, past, future, can, must, want, should, wanted, had (had to).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Case = Literal["nom", "acc", "dat"]

I_, YOU, HE, PLURAL = range(4)  # agreement classes of a subject; "we" and "they" take the same verb forms


@dataclass(frozen=True)
class Noun:
    """A noun; `oblique` is the singular outside the nominative, `en_plural` is empty for mass nouns."""

    en: str
    en_plural: str
    gender: str
    de: str
    oblique: str
    de_plural: str
    tags: frozenset[str]


@dataclass(frozen=True)
class Adjective:
    """An adjective; `stem` is what endings are added to, the comparatives are empty where none is used."""

    en: str
    en_comparative: str
    de: str
    stem: str
    de_comparative: str
    tags: frozenset[str]


@dataclass(frozen=True)
class Preposition:
    """A preposition with the case its German side governs here."""

    en: str
    de: str
    case: Case


@dataclass(frozen=True)
class Verb:
    """A verb with its principal parts on both sides and what it takes.

    `particle` follows the English verb; if it is `phrasal`, a pronoun goes in between. `prefix` is the
    separable one. `finite` holds ich, du, er and wir/sie without the prefix. `preterite` is only there
    for the verbs whose past is not said in the perfect. `en_past` is empty where it looks like the present.
    """

    en: str
    en_s: str
    en_past: str
    particle: str
    phrasal: bool
    prefix: str
    infinitive: str
    finite: tuple[str, str, str, str]
    participle: str
    auxiliary: str
    object_tags: frozenset[str] = frozenset()
    preposition: Preposition | None = None
    preterite: tuple[str, str, str, str] | None = None

    @property
    def name(self) -> str:
        """Return the English dictionary form."""
        return f"{self.en} {self.particle}".strip()


@dataclass(frozen=True)
class Pronoun:
    """A personal, interrogative or relative pronoun; `agreement` picks the verb form."""

    en: str
    en_object: str
    nom: str
    acc: str
    dat: str
    agreement: int
    relative: bool = False


@dataclass(frozen=True)
class Time:
    """A time adverbial and the modes of the clause that it goes with."""

    en: str
    de: str
    modes: frozenset[str]


@dataclass(frozen=True)
class NounPhrase:
    """A noun with its determiner (by its English name, "" for none), adjective and relative clause."""

    noun: Noun
    determiner: str
    plural: bool = False
    adjective: Adjective | None = None
    relative: Clause | None = None

    @property
    def agreement(self) -> int:
        """Return the agreement class: a noun is a third person."""
        return PLURAL if self.plural else HE


Nominal = NounPhrase | Pronoun


@dataclass(frozen=True)
class Phrase:
    """A preposition and what it governs."""

    preposition: Preposition
    nominal: Nominal


@dataclass(frozen=True)
class Clause:
    """A subject, a verb, and what goes with them.

    `complement` is a predicate or adverb, the same in all forms, as an (English, German) pair;
    `predicate` is the adjective in it, if it has one. `companion` stands after `place` in English, and before
    it in German.
    """

    subject: Nominal
    verb: Verb
    mode: str = "present"
    dative: Nominal | None = None
    accusative: Nominal | None = None
    place: Phrase | None = None
    companion: Phrase | None = None
    complement: tuple[str, str] | None = None
    predicate: Adjective | None = None
    time: Time | None = None
    time_first: bool = False
    frequency: str | None = None
    negated: bool = False
