"""Choose clauses that make sense: who may do what to what, where and when.

Everything is drawn from a `Dice`, a small generator of the project's own, so that the same corpus comes out
of every Python.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import english
import german
import lexicon as lx
from structure import (
    HE,
    PLURAL,
    Adjective,
    Clause,
    Nominal,
    Noun,
    NounPhrase,
    Phrase,
    Preposition,
    Pronoun,
    Verb,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dice import Dice


# determiner -> weight, by the part that the phrase plays; "#" is a number
SUBJECT = {
    "the": 55,
    "a": 10,
    "this": 8,
    "my": 5,
    "your": 3,
    "his": 4,
    "her": 4,
    "our": 4,
    "their": 4,
    "every": 4,
}
OBJECT = {
    "the": 40,
    "a": 30,
    "this": 6,
    "my": 4,
    "your": 4,
    "his": 5,
    "her": 5,
    "our": 3,
    "their": 4,
    "no": 4,
}
DEFINITE = {"the": 60, "this": 10, "my": 5, "your": 5, "his": 5, "her": 5, "our": 5, "their": 5}
PLACE = {"the": 80, "a": 8, "this": 6, "our": 6}
PLURAL_SUBJECT = {"the": 55, "this": 8, "my": 8, "our": 8, "#": 14, "many": 7}
PLURAL_OBJECT = {"the": 30, "": 30, "this": 5, "his": 5, "her": 5, "our": 4, "#": 16, "many": 5}
PLURAL_DEFINITE = {"the": 60, "this": 15, "my": 10, "our": 15}
MASS = {"the": 40, "": 45, "this": 5, "no": 5, "her": 5}
_PLURALS = {id(SUBJECT): PLURAL_SUBJECT, id(OBJECT): PLURAL_OBJECT, id(DEFINITE): PLURAL_DEFINITE}
MODES = {
    "present": 40,
    "past": 30,
    "future": 9,
    "can": 6,
    "must": 5,
    "want": 4,
    "should": 3,
    "wanted": 3,
    "had": 3,
}

_STATES = ("love", "have", "need")
_COMMUNITIES = ("city", "village")
_BUILDINGS = ("house", "school", "church", "museum", "library")
_CROSSED = ("garden", "park", "forest", "city", "village")


@cache
def nouns(tags: frozenset[str] | str) -> tuple[Noun, ...]:
    """Return the nouns that have one of the tags, in the lexicon's order."""
    wanted = frozenset(tags.split()) if isinstance(tags, str) else tags
    return tuple(noun for noun in lx.NOUNS.values() if noun.tags & wanted)


def adjectives_of(noun: Noun) -> list[Adjective]:
    """Return the adjectives that go with the noun."""
    return [adjective for adjective in lx.ADJECTIVES.values() if adjective.tags & noun.tags]


def comparable(noun: Noun, other: Noun, adjective: Adjective) -> bool:
    """Say whether one may be more so than the other; of places, only rooms or only buildings."""
    shared = noun.tags & other.tags
    alike = "place" not in shared or bool(shared & {"tidied", "goal"})
    return noun != other and bool(shared & adjective.tags) and alike


def _fitting(noun: Noun, determiners: dict[str, int]) -> dict[str, int]:
    """Return the determiners that suit the noun: "my aunt" rather than "an aunt", but not "my man"."""
    if "family" in noun.tags:
        likely = {name: 3 * n if name in lx.POSSESSIVES else n for name, n in determiners.items()}
        return {name: n for name, n in likely.items() if name not in ("a", "every", "no", "this")}
    if "person" in noun.tags and "own" not in noun.tags:
        return {name: n for name, n in determiners.items() if name not in lx.POSSESSIVES}
    return determiners


def settled(clause: Clause) -> Clause:
    """Return the clause with "the" where a determiner does not go with its negation ("not every", "never no")."""
    odd: tuple[str, ...] = ()
    if clause.frequency == "never" or clause.mode not in ("present", "past", "future"):
        odd = ("no",)  # "muss kein" would mean "need not"
    if clause.negated:
        odd = ("no", "every", "many", *lx.NUMBERS)

    def mended(nominal: Nominal | None) -> Nominal | None:
        if isinstance(nominal, NounPhrase) and nominal.determiner in odd:
            return replace(nominal, determiner="the")
        return nominal

    return replace(clause, dative=mended(clause.dative), accusative=mended(clause.accusative))


def relative_pronoun(antecedent: NounPhrase) -> Pronoun:
    """Return "who", agreeing with the noun that it belongs to."""
    gender = "p" if antecedent.plural else antecedent.noun.gender
    nom, acc, dat = {"m": "der den dem", "f": "die die der", "n": "das das dem", "p": "die die denen"}[
        gender
    ].split()
    return Pronoun("who", "whom", nom, acc, dat, PLURAL if antecedent.plural else HE, relative=True)


def comparison(adjective: Adjective, other: NounPhrase) -> tuple[str, str]:
    """Return "older than the house" in both languages."""
    en = f"{adjective.en_comparative} than {english.nominal(other)}"
    return en, f"{adjective.de_comparative} als {german.nominal(other, 'nom')}"


class Grammar:
    """Draws noun phrases and clauses from dice."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice

    def phrase(self, noun: Noun, determiners: dict[str, int], adjectives: int = 30) -> NounPhrase:
        """Return the noun with a determiner, perhaps in the plural, with an adjective that often (percent)."""
        plural = bool(noun.en_plural) and id(determiners) in _PLURALS and self.dice.chance(28)
        if plural:
            determiners = _PLURALS[id(determiners)]
        elif "mass" in noun.tags and determiners is OBJECT:
            determiners = MASS
        determiners = _fitting(noun, determiners)
        determiner = self.dice.weighted(determiners)
        if determiner == "#":
            determiner = self.dice.pick(list(lx.NUMBERS))
        adjective = self.adjective(noun) if self.dice.chance(adjectives) else None
        return NounPhrase(noun, determiner, plural, adjective)

    def adjective(self, noun: Noun) -> Adjective | None:
        """Return an adjective that goes with the noun, if there is one."""
        fitting = adjectives_of(noun)
        return self.dice.pick(fitting) if fitting else None

    def subject(self, negated: bool, pronouns: int = 40) -> Nominal:
        """Return a person: a pronoun that often (percent), or a noun phrase."""
        if self.dice.chance(pronouns):
            return self.dice.pick(lx.PRONOUNS)
        return self.phrase(self.dice.pick(nouns("person")), DEFINITE if negated else SUBJECT)

    def object(self, verb: Verb, subject: Nominal, determiners: dict[str, int] = OBJECT) -> Nominal:
        """Return something that the verb is done to; a person may be a pronoun."""
        noun = self.dice.pick(nouns(verb.object_tags))
        if "person" not in noun.tags:
            return self.phrase(noun, determiners)
        if self.dice.chance(35):
            return self.other(subject)
        return self.phrase(noun, SUBJECT if determiners is OBJECT else determiners, adjectives=20)

    def other(self, subject: Nominal) -> Pronoun:
        """Return a personal pronoun that does not share a person with the subject ("I see us")."""
        own = subject.en if isinstance(subject, Pronoun) else ""
        taken = ("I", "we") if own in ("I", "we") else (own,) if own == "you" else ()
        return self.dice.pick([pronoun for pronoun in lx.PRONOUNS if pronoun.en not in taken])

    def frame(self, verb: Verb, subject: Nominal | None = None, negated: bool | None = None) -> Clause:
        """Return a clause of subject, verb, mode, and perhaps negation, time or frequency."""
        dice = self.dice
        negated = dice.chance(14) if negated is None else negated
        subject = subject or self.subject(negated)
        modes = {mode: n for mode, n in MODES.items() if mode != "past" or verb.en_past}
        if negated:
            del modes["must"]
        if verb.en in _STATES:
            modes = {mode: modes[mode] for mode in ("present", "past", "future")}
        clause = Clause(subject, verb, dice.weighted(modes), negated=negated)
        if dice.chance(45) and verb.en not in _STATES:
            fitting = [time for time in lx.TIMES if clause.mode in time.modes]
            return replace(clause, time=dice.pick(fitting), time_first=dice.chance(50))
        if clause.mode == "present" and not negated and dice.chance(25):
            return replace(clause, frequency=dice.pick(list(lx.FREQUENCIES)))
        return clause

    def transitive(self) -> Clause:
        """Somebody does something to a thing or person, now and then for somebody."""
        verb = self.dice.pick(lx.TRANSITIVE)
        clause = self.frame(verb)
        clause = replace(clause, accusative=self.object(verb, clause.subject))
        makes = verb.en in ("buy", "cook", "repair", "write", "build")
        if makes and not clause.negated and not clause.time and self.dice.chance(35):
            person = self.phrase(self.dice.pick(nouns("person")), DEFINITE, adjectives=0)
            return replace(clause, place=Phrase(lx.FOR, person))
        return clause

    def dative(self) -> Clause:
        """Somebody helps, thanks, follows somebody."""
        verb = self.dice.pick(lx.DATIVE)
        clause = self.frame(verb)
        return replace(clause, dative=self.object(verb, clause.subject))

    def belonging(self) -> Clause:
        """Something belongs to somebody."""
        thing = self.phrase(self.dice.pick(nouns("thing wear animal vehicle")), DEFINITE)
        clause = Clause(thing, lx.BELONG, self.dice.weighted({"present": 70, "past": 30}))
        return replace(clause, dative=self.object(lx.BELONG, thing, DEFINITE), negated=self.dice.chance(25))

    def giving(self) -> Clause:
        """Somebody gives somebody something."""
        verb = self.dice.pick(lx.GIVING)
        clause = self.frame(verb)
        noun = self.dice.pick(nouns("person"))
        person = (
            self.other(clause.subject) if self.dice.chance(40) else self.phrase(noun, DEFINITE, adjectives=15)
        )
        return replace(clause, dative=person, accusative=self.object(verb, clause.subject))

    def prepositional(self) -> Clause:
        """Somebody waits for, thinks of, plays with somebody or something."""
        verb = self.dice.pick(lx.PREPOSITIONAL)
        clause = self.frame(verb)
        if verb.preposition is None:
            raise AssertionError(f"{verb.en} has no preposition")
        return replace(clause, place=Phrase(verb.preposition, self.object(verb, clause.subject, DEFINITE)))

    def resting(self) -> Clause:
        """Somebody does something at a place, or something stands there."""
        verb = self.dice.pick([*lx.RESTING, lx.STAND])
        if verb is lx.STAND:
            thing = self.phrase(self.dice.pick(nouns("furniture vessel load")), DEFINITE)
            clause = Clause(thing, verb, self.dice.weighted({"present": 70, "past": 30}))
            return replace(clause, place=self.location(verb, thing))
        clause = self.frame(verb)
        if verb.en in ("sleep", "work") and self.dice.chance(15):
            return replace(clause, complement=("at home", "zu Hause"))
        return replace(clause, place=self.location(verb, clause.subject))

    def location(self, verb: Verb, subject: Nominal) -> Phrase:
        """Return a place where the verb can go on."""
        if verb is lx.STAND or (verb.en == "sit" and self.dice.chance(50)):
            surface = [noun for noun in nouns("surface") if subject.agreement == PLURAL or noun.en != "bed"]
            own = subject.noun if isinstance(subject, NounPhrase) else None
            preposition = self.dice.pick(
                (lx.ON, lx.BESIDE) if verb is not lx.STAND else (lx.BESIDE, lx.BEHIND)
            )
            if isinstance(own, Noun) and own.tags & {"vessel", "light"}:
                preposition = lx.ON
            return self._at(preposition, [noun for noun in surface if noun != own])
        if verb.en == "arrive":
            return self._at(lx.AT, nouns("spot"), exclude=("door", "window"))
        if verb.en == "live" or self.dice.chance(60):
            return self._at(lx.IN, nouns("place"))
        if self.dice.chance(50):
            return self._at(lx.AT, nouns("spot"), exclude=("bridge",))
        return self._at(self.dice.pick((lx.BESIDE, lx.BEHIND)), [lx.NOUNS[name] for name in _BUILDINGS])

    def _at(self, preposition: Preposition, choices: Sequence[Noun], exclude: Sequence[str] = ()) -> Phrase:
        noun = self.dice.pick([noun for noun in choices if noun.en not in exclude])
        return Phrase(preposition, self.phrase(noun, PLACE, adjectives=20))

    def moving(self) -> Clause:
        """Somebody goes to, into, through or out of a place, perhaps with somebody."""
        verb = self.dice.pick(lx.MOVING)
        clause = self.frame(verb)
        kinds: dict[Preposition, Sequence[Noun]] = {
            lx.TO: nouns("goal"),
            lx.INTO: nouns("place"),
            lx.OUT_OF: nouns("place"),
            lx.THROUGH: [lx.NOUNS[name] for name in _CROSSED],
        }
        preposition = self.dice.pick(list(kinds))
        choices = kinds[preposition]
        if verb.en == "travel" and preposition is not lx.TO:
            choices = [lx.NOUNS[name] for name in _COMMUNITIES]
        clause = replace(clause, place=self._at(preposition, choices))
        if not clause.time and self.dice.chance(40):
            person = self.phrase(self.dice.pick(nouns("person animal")), DEFINITE, adjectives=15)
            clause = replace(clause, companion=Phrase(self.dice.pick((lx.WITH, lx.WITHOUT)), person))
        return replace(clause, negated=clause.negated and not clause.companion)

    def placing(self) -> Clause:
        """Somebody puts something on, into or beside something."""
        verb = self.dice.pick(lx.PLACING)
        clause = self.frame(verb)
        clause = replace(clause, accusative=self.object(verb, clause.subject, DEFINITE))
        if self.dice.chance(60):
            place = self._at(lx.PUT_ON, nouns("surface"))
        elif self.dice.chance(50):
            place = self._at(lx.PUT_BESIDE, [lx.NOUNS[name] for name in ("lamp", "bed", "door", "window")])
        else:
            place = self._at(
                lx.INTO, [lx.NOUNS[name] for name in ("cupboard", "car", "kitchen", "room", "office")]
            )
        return replace(clause, place=place)

    def alone(self) -> Clause:
        """Somebody gets up, falls asleep, laughs."""
        return self.frame(self.dice.pick(lx.ALONE))

    def feeling(self) -> Clause:
        """Somebody is tired, happy, sick, friendly."""
        adjective = self.dice.pick([lx.ADJECTIVES[name] for name in ("tired", "happy", "sick", "friendly")])
        clause = Clause(
            self.subject(negated=True, pronouns=60), lx.BE, self.dice.weighted({"present": 65, "past": 35})
        )
        words = (adjective.en, adjective.de)
        return replace(clause, complement=words, predicate=adjective, negated=self.dice.chance(25))

    def being(self) -> Clause:
        """Somebody or something is old, older than another, or seven years old; or costs so much."""
        dice = self.dice
        if dice.chance(25):
            return self.feeling()
        mode = dice.weighted({"present": 65, "past": 35})
        noun = dice.pick(
            [noun for noun in lx.NOUNS.values() if adjectives_of(noun) and "drink" not in noun.tags]
        )
        subject = self.phrase(noun, DEFINITE, adjectives=0)
        if "thing" in noun.tags and dice.chance(25):
            number = dice.pick(list(lx.NUMBERS))
            return Clause(subject, lx.COST, complement=(f"{number} euros", f"{lx.NUMBERS[number]} Euro"))
        if "child" in noun.tags and dice.chance(40):
            number = dice.pick(list(lx.NUMBERS))
            age = (f"{number} years old", f"{lx.NUMBERS[number]} Jahre alt")
            return Clause(subject, lx.BE, mode, complement=age)
        adjective = self.adjective(noun)
        if adjective is None:
            raise AssertionError(f"{noun.en} has adjectives")
        clause = Clause(subject, lx.BE, mode, predicate=adjective)
        alike = [other for other in lx.NOUNS.values() if comparable(noun, other, adjective)]
        if adjective.en_comparative and alike and dice.chance(60):
            other = self.phrase(dice.pick(alike), {"the": 70, "my": 10, "your": 10, "our": 10}, adjectives=0)
            return replace(clause, complement=comparison(adjective, other))
        return replace(clause, complement=(adjective.en, adjective.de), negated=dice.chance(20))

    def weather(self) -> Clause:
        """It rains, or is cold."""
        clause = self.frame(self.dice.pick((lx.RAIN, lx.BE)), lx.IT)
        clause = replace(
            clause, mode=self.dice.weighted({"present": 50, "past": 50}), time=None, frequency=None
        )
        return replace(clause, complement=("cold", "kalt")) if clause.verb is lx.BE else clause

    def action(self) -> Clause:
        """Return a clause with a verb of doing, of any kind."""
        kinds: dict[Callable[[], Clause], int] = {
            self.transitive: 44,
            self.giving: 13,
            self.dative: 11,
            self.prepositional: 10,
            self.resting: 11,
            self.moving: 8,
            self.placing: 6,
            self.alone: 4,
        }
        return settled(self.dice.weighted(kinds)())
