"""The German side: turn a clause into German words, with agreement, case and word order.

main clause          Heute | kauft | der Mann | das Buch              the verb is second
question                   | Kauft | der Mann | das Buch              the verb is first
subordinate clause   weil          | der Mann | das Buch   | kauft    the verb is last
bracket              Heute | hat   | der Mann | das Buch   | gekauft  also prefixes and infinitives
"""

from __future__ import annotations

from dataclasses import replace

from lexicon import FREQUENCIES, NUMBERS, POSSESSIVES
from structure import Case, Clause, Nominal, NounPhrase, Phrase, Pronoun

# columns: nominative, accusative, dative; rows: masculine, feminine, neuter, plural
_CASES = ("nom", "acc", "dat")
_DEFINITE = {"m": "der den dem", "f": "die die der", "n": "das das dem", "p": "die die den"}
_DER_ENDINGS = {"m": "er en em", "f": "e e er", "n": "es es em", "p": "e e en"}
_EIN_ENDINGS = {"m": "- en em", "f": "e e er", "n": "- - em", "p": "e e en"}
_WEAK = {"m": "e en en", "f": "e e en", "n": "e e en", "p": "en en en"}
_MIXED = {"m": "er en en", "f": "e e en", "n": "es es en", "p": "en en en"}
_STRONG = {"m": "er en em", "f": "e e er", "n": "es es em", "p": "e e en"}

_DER_WORDS = {"this": "dies", "every": "jed", "which": "welch", "many": "viel", "how many": "wie viel"}
_EIN_WORDS = {"a": "ein", "no": "kein", **POSSESSIVES}
_CONTRACTIONS = {
    "in das": "ins",
    "in dem": "im",
    "an dem": "am",
    "zu dem": "zum",
    "zu der": "zur",
    "von dem": "vom",
}
# ich, du, er, wir/sie
_MODALS = {
    "future": ("werde", "wirst", "wird", "werden"),
    "can": ("kann", "kannst", "kann", "können"),
    "must": ("muss", "musst", "muss", "müssen"),
    "want": ("will", "willst", "will", "wollen"),
    "should": ("soll", "sollst", "soll", "sollen"),
    "wanted": ("wollte", "wolltest", "wollte", "wollten"),
    "had": ("musste", "musstest", "musste", "mussten"),
}
_AUXILIARIES = {"haben": ("habe", "hast", "hat", "haben"), "sein": ("bin", "bist", "ist", "sind")}


def _ending(table: dict[str, str], gender: str, case: Case) -> str:
    return table[gender].split()[_CASES.index(case)].replace("-", "")


def nominal(phrase: Nominal, case: Case) -> str:
    """Return a pronoun in its case, or a noun phrase whose article, adjective and noun agree."""
    if isinstance(phrase, Pronoun):
        return {"nom": phrase.nom, "acc": phrase.acc, "dat": phrase.dat}[case]
    gender = "p" if phrase.plural else phrase.noun.gender
    determiner, endings = _determiner(phrase.determiner, gender, case)
    words = [determiner] if determiner else []
    if phrase.adjective:
        words.append(phrase.adjective.stem + _ending(endings, gender, case))
    words.append(_noun(phrase, case))
    text = " ".join(words)
    return f"{text}, {subordinate(phrase.relative)}," if phrase.relative else text


def _determiner(name: str, gender: str, case: Case) -> tuple[str, dict[str, str]]:
    """Return the inflected determiner and the adjective endings that follow it."""
    if name == "the":
        return _ending(_DEFINITE, gender, case), _WEAK
    if name in _DER_WORDS:
        endings = _STRONG if name in ("many", "how many") else _WEAK
        return _DER_WORDS[name] + _ending(_DER_ENDINGS, gender, case), endings
    if name in _EIN_WORDS:
        return _EIN_WORDS[name] + _ending(_EIN_ENDINGS, gender, case), _MIXED
    return NUMBERS[name] if name else "", _STRONG


def _noun(phrase: NounPhrase, case: Case) -> str:
    noun = phrase.noun
    if not phrase.plural:
        return noun.de if case == "nom" else noun.oblique
    needs_n = case == "dat" and noun.de_plural[-1] not in "ns"
    return noun.de_plural + ("n" if needs_n else "")


def main(clause: Clause) -> str:
    """Return the clause with its verb second, after the subject or a fronted time."""
    if clause.time_first and clause.time:
        return inverted(clause, clause.time.de)
    finite, tail, _ = _verbs(clause)
    return _join([nominal(clause.subject, "nom"), finite, *_middle(clause), *tail])


def inverted(clause: Clause, front: str = "") -> str:
    """Return the clause with its verb before its subject, for questions and after whatever is fronted."""
    finite, tail, _ = _verbs(clause)
    return _join([front, finite, nominal(clause.subject, "nom"), *_middle(clause), *tail])


def subordinate(clause: Clause) -> str:
    """Return the clause with its verb last."""
    _, _, final = _verbs(clause)
    return _join([nominal(clause.subject, "nom"), *_middle(clause), *final])


def _join(words: list[str]) -> str:
    return " ".join(word for word in words if word)


def _verbs(clause: Clause) -> tuple[str, list[str], list[str]]:
    """Return the finite verb, what closes the bracket, and the verbs of a verb-final clause."""
    verb, mode, agreement = clause.verb, clause.mode, clause.subject.agreement
    if mode == "present" or (mode == "past" and verb.preterite):
        finite = verb.preterite[agreement] if mode == "past" and verb.preterite else verb.finite[agreement]
        return finite, [verb.prefix], [verb.prefix + finite]
    if mode == "past":
        finite, last = _AUXILIARIES[verb.auxiliary][agreement], verb.participle
    else:
        finite, last = _MODALS[mode][agreement], verb.prefix + verb.infinitive
    return finite, [last], [last, finite]


def _middle(clause: Clause) -> list[str]:
    """Return what stands between subject and closing verb.

    Pronouns come first, then time, dative before accusative, "nicht", companion, place. A clause with
    "nicht" has its time after the objects. An object without a definite article takes "kein" instead.
    """
    clause, has_nicht = _negate(clause)
    dative = nominal(clause.dative, "dat") if clause.dative else ""
    accusative = nominal(clause.accusative, "acc") if clause.accusative else ""
    pronouns: list[str] = []
    nouns: list[str] = []
    for phrase, text in ((clause.dative, dative), (clause.accusative, accusative)):
        (pronouns if isinstance(phrase, Pronoun) else nouns).append(text)
    times = [clause.time.de] if clause.time and not clause.time_first else []
    times += [FREQUENCIES[clause.frequency]] if clause.frequency else []
    field = [*nouns, *times, "nicht"] if has_nicht else [*times, *nouns]
    phrases = [prepositional(phrase) for phrase in (clause.companion, clause.place) if phrase]
    complement = [clause.complement[1]] if clause.complement else []
    return [*pronouns, *field, *phrases, *complement]


def _negate(clause: Clause) -> tuple[Clause, bool]:
    """Return the clause with "kein" where it belongs, or else say that it takes "nicht"."""
    if not clause.negated:
        return clause, False
    if isinstance(clause.accusative, NounPhrase) and clause.accusative.determiner in ("a", ""):
        return replace(clause, accusative=replace(clause.accusative, determiner="no")), False
    if isinstance(clause.dative, NounPhrase) and clause.dative.determiner in ("a", ""):
        return replace(clause, dative=replace(clause.dative, determiner="no")), False
    return clause, True


def prepositional(phrase: Phrase) -> str:
    """Return a preposition with its noun phrase, contracted with the article where German does so."""
    preposition = phrase.preposition
    text = nominal(phrase.nominal, preposition.case)
    if isinstance(phrase.nominal, NounPhrase) and phrase.nominal.determiner == "the":
        article, _, rest = text.partition(" ")
        start = f"{preposition.de} {article}"
        return f"{_CONTRACTIONS.get(start, start)} {rest}"
    return f"{preposition.de} {text}"
