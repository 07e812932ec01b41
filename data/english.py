"""The English side: turn a clause into English words."""

from __future__ import annotations

from structure import HE, Clause, Nominal, Phrase, Pronoun, Verb

_PLURAL_DETERMINERS = {"this": "these"}
_BE = ("am", "are", "is", "are")
_WAS = ("was", "were", "was", "were")
_MODALS = {"future": "will", "can": "can", "must": "must", "should": "should"}
_TO_MODES = {"want": ("want", "wants"), "wanted": ("wanted", "wanted"), "had": ("had", "had")}


def nominal(phrase: Nominal, is_object: bool = True) -> str:
    """Return a pronoun in its case, or a noun phrase with article, adjective, noun and relative clause."""
    if isinstance(phrase, Pronoun):
        return phrase.en_object if is_object else phrase.en
    words = [phrase.adjective.en] if phrase.adjective else []
    words.append(phrase.noun.en_plural if phrase.plural else phrase.noun.en)
    determiner = phrase.determiner
    if determiner == "a":
        determiner = "an" if words[0][0] in "aeiou" else "a"
    elif phrase.plural:
        determiner = _PLURAL_DETERMINERS.get(determiner, determiner)
    if determiner:
        words.insert(0, determiner)
    if phrase.relative:
        words.append(statement(phrase.relative))
    return " ".join(words)


def statement(clause: Clause) -> str:
    """Return the clause with its subject before its verb; subordinate clauses look the same."""
    subject = nominal(clause.subject, is_object=False)
    words = [subject, *_verb_group(clause), _rest(clause)]
    if clause.time_first and clause.time:
        words.insert(0, clause.time.en)
    return " ".join(word for word in words if word)


def question(clause: Clause, front: str = "") -> str:
    """Return the clause with its auxiliary before its subject, and a question word before that."""
    subject = nominal(clause.subject, is_object=False)
    auxiliary, rest = _auxiliary(clause)
    words = [front, auxiliary, subject, clause.frequency, *rest, _rest(clause)]
    return " ".join(word for word in words if word)


def _auxiliary(clause: Clause) -> tuple[str, list[str]]:
    """Return the verb that inverts and negates, and what follows it; do, unless there is another."""
    verb, mode, agreement = clause.verb, clause.mode, clause.subject.agreement
    if verb.en == "be" and mode in ("present", "past"):
        return (_BE if mode == "present" else _WAS)[agreement], []
    if mode in _MODALS:
        return _MODALS[mode], [verb.en]
    present = "does" if agreement == HE else "do"
    do = "did" if mode in ("past", "wanted", "had") else present
    to = {"want": ["want", "to"], "wanted": ["want", "to"], "had": ["have", "to"]}.get(mode, [])
    return do, [*to, verb.en]


def _verb_group(clause: Clause) -> list[str]:
    verb, mode, agreement = clause.verb, clause.mode, clause.subject.agreement
    if clause.negated:
        auxiliary, rest = _auxiliary(clause)
        return ["cannot" if auxiliary == "can" else f"{auxiliary} not", *rest]
    frequency = [clause.frequency] if clause.frequency else []
    if mode in _MODALS or (verb.en == "be" and mode in ("present", "past")):
        auxiliary, rest = _auxiliary(clause)
        return [auxiliary, *frequency, *rest]
    third = agreement == HE
    if mode in _TO_MODES:
        return [*frequency, _TO_MODES[mode][third], "to", verb.en]
    return [*frequency, _finite(verb, mode, third)]


def _finite(verb: Verb, mode: str, third: bool) -> str:
    if mode == "past":
        return verb.en_past
    return verb.en_s if third else verb.en


def _rest(clause: Clause) -> str:
    """Return what follows the verb: objects, predicate, place, companion, time."""
    objects = [nominal(phrase) for phrase in (clause.dative, clause.accusative) if phrase]
    if clause.verb.particle:
        between = clause.verb.phrasal and isinstance(clause.accusative, Pronoun)
        objects.insert(len(objects) if between else 0, clause.verb.particle)
    if clause.complement:
        objects.append(clause.complement[0])
    objects += [_phrase(phrase) for phrase in (clause.place, clause.companion) if phrase]
    if clause.time and not clause.time_first:
        objects.append(clause.time.en)
    return " ".join(objects)


def _phrase(phrase: Phrase) -> str:
    return f"{phrase.preposition.en} {nominal(phrase.nominal)}"
