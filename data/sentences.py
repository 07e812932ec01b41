"""Make sentences of clauses: statements, questions, subordinate and relative clauses, in both languages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import english
import german
import lexicon as lx
from grammar import Grammar, nouns, relative_pronoun
from structure import Case, Clause, Nominal, NounPhrase, Pronoun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A combination: its kind, and the dictionary forms of the two words.
Combination = tuple[str, str, str]

_NOUN_OF = {form: noun for noun in lx.NOUNS.values() for form in (noun.en, noun.en_plural)}
_CONJUNCTIONS = (
    ("because", "weil"),
    ("although", "obwohl"),
    ("if", "wenn"),
    ("while", "während"),
    ("before", "bevor"),
)
_CAUSES = (("because", "weil"), ("although", "obwohl"))


@dataclass(frozen=True)
class Sentence:
    """A sentence in both languages, its kind, and the combinations of words in it."""

    en: str
    de: str
    kind: str
    combinations: frozenset[Combination]


def combinations(clause: Clause) -> Iterator[Combination]:
    """Yield the word pairs of a clause: adjective and noun, subject and verb, verb and object."""
    placed = [phrase.nominal for phrase in (clause.place, clause.companion) if phrase]
    governed = placed[:1] if clause.verb.preposition else []
    for phrase in (clause.subject, clause.dative, clause.accusative, *placed):
        if isinstance(phrase, NounPhrase):
            if phrase.adjective:
                yield "adjective noun", phrase.adjective.en, phrase.noun.en
            if phrase.relative:
                yield from combinations(replace(phrase.relative, subject=replace(phrase, relative=None)))
    if isinstance(clause.subject, NounPhrase):
        yield "subject verb", clause.subject.noun.en, clause.verb.name
        if clause.predicate:
            yield "adjective noun", clause.predicate.en, clause.subject.noun.en
    for phrase in (clause.dative, clause.accusative, *governed):
        if isinstance(phrase, NounPhrase):
            yield "verb object", clause.verb.name, phrase.noun.en


def sentence(kind: str, en: str, de: str, mark: str, *clauses: Clause) -> Sentence:
    """Return the finished sentence: capital letter, punctuation, combinations."""
    de = de.removesuffix(",")
    pairs = frozenset(pair for clause in clauses for pair in combinations(clause))
    return Sentence(en[0].upper() + en[1:] + mark, de[0].upper() + de[1:] + mark, kind, pairs)


class Sentences:
    """Draws sentences of every kind."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.dice = grammar.dice

    def draw(self) -> Sentence:
        """Return one sentence in which no noun comes twice."""
        kinds: dict[Callable[[], Sentence], int] = {
            self.statement: 48,
            self.predication: 11,
            self.yes_no: 9,
            self.wh: 11,
            self.subordinate: 10,
            self.complement: 6,
            self.relative: 5,
        }
        while True:
            drawn = self.dice.weighted(kinds)()
            named = [_NOUN_OF[word] for word in drawn.en[:-1].lower().split() if word in _NOUN_OF]
            if len(named) == len(set(named)):
                return drawn

    def statement(self) -> Sentence:
        """Somebody does something."""
        clause = self.grammar.action() if self.dice.chance(96) else self.grammar.belonging()
        return sentence("statement", english.statement(clause), german.main(clause), ".", clause)

    def predication(self) -> Sentence:
        """Something is so."""
        clause = self.grammar.being()
        return sentence("predication", english.statement(clause), german.main(clause), ".", clause)

    def yes_no(self) -> Sentence:
        """Does somebody do something?"""
        clause = self.grammar.being() if self.dice.chance(15) else self.grammar.action()
        clause = _plain(clause, negated=False)
        return sentence("yes-no question", english.question(clause), german.inverted(clause), "?", clause)

    def wh(self) -> Sentence:
        """Who does it? What, whom, which, how many, where, when, why?"""
        clause = _plain(self.grammar.action(), negated=False)
        ask = self.dice.weighted({"who": 20, "object": 40, "when": 20, "why": 20})
        if clause.verb is lx.STAND:
            ask = "object"
        if ask == "who":
            clause = replace(clause, subject=lx.WHO)
            return sentence("wh question", english.statement(clause), german.main(clause), "?", clause)
        if ask == "object" and clause.verb in lx.MOVING:
            return self._asked(replace(clause, place=None), ("where", "wohin"), clause)
        if ask == "object" and clause.verb in (*lx.RESTING, lx.STAND):
            return self._asked(replace(clause, place=None, complement=None), ("where", "wo"), clause)
        if ask == "object" and (clause.accusative or clause.dative):
            return self._object_question(clause)
        front = ("why", "warum") if ask == "why" else ("when", "wann")
        rest = clause if ask == "why" else replace(clause, time=None, frequency=None)
        return self._asked(rest, front, rest)

    def _object_question(self, clause: Clause) -> Sentence:
        accusative = clause.accusative is not None
        rest = replace(clause, accusative=None) if accusative else replace(clause, dative=None)
        asked, case = (clause.accusative, "acc") if accusative else (clause.dative, "dat")
        front, kept = self._question_word(asked, "acc" if case == "acc" else "dat")
        full = replace(clause, accusative=kept) if accusative else replace(clause, dative=kept)
        return self._asked(rest, front, full)

    def _question_word(self, asked: Nominal | None, case: Case) -> tuple[tuple[str, str], Nominal | None]:
        """Return the question words for an object, and what is left of it in the sentence."""
        if isinstance(asked, NounPhrase) and self.dice.chance(55):
            countable = bool(asked.noun.en_plural) and not {"family"} & asked.noun.tags
            many = countable and case == "acc" and self.dice.chance(45)
            determiner = "how many" if many else "which"
            if many or countable:
                asked = replace(asked, determiner=determiner, plural=many or asked.plural)
                return (english.nominal(asked), german.nominal(asked, case)), asked
        person = isinstance(asked, Pronoun) or (isinstance(asked, NounPhrase) and "person" in asked.noun.tags)
        if person or case == "dat":
            return ("whom", german.nominal(lx.WHO, case)), None
        return ("what", "was"), None

    def _asked(self, rest: Clause, front: tuple[str, str], full: Clause) -> Sentence:
        en, de = english.question(rest, front[0]), german.inverted(rest, front[1])
        return sentence("wh question", en, de, "?", full)

    def subordinate(self) -> Sentence:
        """Two clauses joined by because, although, if, while or before; either may come first."""
        dice = self.dice
        main = _plain(self.grammar.action(), negated=None)
        other = self.grammar.action() if dice.chance(55) else self._state()
        conjunction = dice.pick(_CONJUNCTIONS if other.verb is not lx.BE else _CAUSES)
        if conjunction[0] in ("while", "before"):
            main, other = replace(main, negated=False), replace(other, negated=False)
        past = main.mode in ("past", "wanted", "had")
        if past and conjunction[0] == "if":
            conjunction = _CAUSES[0]
        other = _plain(other, negated=None, mode="past" if past and other.verb.en_past else "present")
        if past and other.mode != "past":
            other = self._state("past")
        if main.time:
            other = replace(other, time=None)
        first = dice.chance(35)
        en, de = english.statement(other), german.subordinate(other)
        if first:
            en = f"{conjunction[0]} {en}, {english.statement(main)}"
            de = f"{conjunction[1]} {de}, {german.inverted(main)}"
        else:
            en = f"{english.statement(main)} {conjunction[0]} {en}"
            de = f"{german.main(main)}, {conjunction[1]} {de}"
        return sentence("subordinate clause", en, de, ".", main, other)

    def _state(self, mode: str = "present") -> Clause:
        """Return how somebody feels, or the weather, as a reason."""
        clause = self.grammar.weather() if self.dice.chance(35) else self.grammar.feeling()
        return replace(clause, mode=mode)

    def complement(self) -> Sentence:
        """Somebody knows, believes, hopes, says that; or asks whether."""
        dice = self.dice
        other = dice.weighted({self.grammar.action: 70, self.grammar.being: 20, self.grammar.weather: 10})()
        other = _plain(other, negated=None)
        asks = dice.chance(30)
        verb = lx.ASK if asks else dice.pick(lx.SAYING)
        main = Clause(self.grammar.subject(negated=False), verb)
        joins = ("that", "dass")
        if asks or (verb.en == "know" and dice.chance(30)):
            joins, main = ("whether", "ob"), replace(main, negated=not asks)
            main = main if asks else replace(main, subject=dice.pick(lx.PRONOUNS))
            other = replace(other, negated=False)
        en = f"{english.statement(main)} {joins[0]} {english.statement(other)}"
        de = f"{german.main(main)}, {joins[1]} {german.subordinate(other)}"
        return sentence("complement clause", en, de, ".", main, other)

    def relative(self) -> Sentence:
        """The person who does something is or does something else."""
        grammar = self.grammar
        determiners = {"the": 80, "this": 20}
        person = grammar.phrase(self.dice.pick(nouns("person")), determiners, adjectives=15)
        inner = _plain(grammar.action(), negated=None)
        inner = replace(inner, subject=relative_pronoun(person))
        person = replace(person, relative=inner)
        if self.dice.chance(50):
            adjective = grammar.adjective(person.noun)
            words = (adjective.en, adjective.de) if adjective else ("at home", "zu Hause")
            main = Clause(person, lx.BE, complement=words, predicate=adjective)
        else:
            known = [verb for verb in lx.TRANSITIVE if verb.en in ("see", "visit", "love")]
            verb = self.dice.pick(known)
            main = Clause(self.grammar.subject(negated=True), verb, accusative=person)
        return sentence("relative clause", english.statement(main), german.main(main), ".", main)


def _plain(clause: Clause, negated: bool | None, mode: str | None = None) -> Clause:
    """Return the clause with its time in its usual place; with another mode, without time."""
    clause = replace(clause, time_first=False, negated=clause.negated if negated is None else negated)
    if mode is None or mode == clause.mode:
        return clause
    return replace(clause, mode=mode, time=None, frequency=None)
