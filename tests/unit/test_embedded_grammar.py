"""The grammar of the embedded corpus, sentence by sentence: what it makes is what was written by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))

import english
import german
import lexicon as lx
from grammar import comparison, relative_pronoun
from sentences import combinations, sentence
from structure import Clause, NounPhrase, Phrase, Preposition, Pronoun, Time, Verb

ME, YOU, HE, SHE, WE, THEY = lx.PRONOUNS
VERBS = {
    verb.name: verb
    for table in (lx.TRANSITIVE, lx.DATIVE, lx.GIVING, lx.PREPOSITIONAL, lx.RESTING, lx.MOVING, lx.PLACING)
    for verb in table
} | {verb.name: verb for verb in (*lx.ALONE, lx.STAND, lx.BELONG)}
TIMES = {time.en: time for time in lx.TIMES}


def np(determiner: str, noun: str, adjective: str = "", plural: bool = False) -> NounPhrase:
    return NounPhrase(lx.NOUNS[noun], determiner, plural, lx.ADJECTIVES[adjective] if adjective else None)


def time(name: str, first: bool = False) -> dict[str, Time | bool]:
    return {"time": TIMES[name], "time_first": first}


def at(
    preposition: Preposition, determiner: str, noun: str, adjective: str = "", plural: bool = False
) -> Phrase:
    return Phrase(preposition, np(determiner, noun, adjective, plural))


def verb(name: str) -> Verb:
    return VERBS[name]


STATEMENTS = [
    # agreement of article, adjective and noun: after the definite, an ein-word, nothing
    (
        Clause(np("the", "man", "old"), verb("buy"), accusative=np("the", "table", "old")),
        "The old man buys the old table.",
        "Der alte Mann kauft den alten Tisch.",
    ),
    (
        Clause(np("a", "man", "old"), verb("buy"), accusative=np("a", "table", "old")),
        "An old man buys an old table.",
        "Ein alter Mann kauft einen alten Tisch.",
    ),
    (
        Clause(np("my", "child", "small"), verb("wear"), accusative=np("a", "dress", "red")),
        "My small child wears a red dress.",
        "Mein kleines Kind trägt ein rotes Kleid.",
    ),
    (
        Clause(np("this", "woman"), verb("drink"), accusative=np("", "tea", "cold")),
        "This woman drinks cold tea.",
        "Diese Frau trinkt kalten Tee.",
    ),
    (
        Clause(HE, verb("drink"), accusative=np("", "water", "cold")),
        "He drinks cold water.",
        "Er trinkt kaltes Wasser.",
    ),
    (
        Clause(WE, verb("see"), accusative=np("three", "dog", "small", plural=True)),
        "We see three small dogs.",
        "Wir sehen drei kleine Hunde.",
    ),
    (
        Clause(np("this", "girl", plural=True), verb("help"), dative=np("six", "dog", "small", plural=True)),
        "These girls help six small dogs.",
        "Diese Mädchen helfen sechs kleinen Hunden.",
    ),
    (
        Clause(
            np("many", "child", "young", plural=True),
            verb("look for"),
            accusative=np("the", "key", plural=True),
        ),
        "Many young children look for the keys.",
        "Viele junge Kinder suchen die Schlüssel.",
    ),
    (
        Clause(np("every", "boy"), verb("have"), accusative=np("a", "bicycle", "expensive")),
        "Every boy has an expensive bicycle.",
        "Jeder Junge hat ein teures Fahrrad.",
    ),
    # nouns of the weak declension
    (
        Clause(np("the", "boy"), verb("see"), accusative=np("the", "boy")),
        "The boy sees the boy.",
        "Der Junge sieht den Jungen.",
    ),
    (
        Clause(SHE, verb("help"), dative=np("a", "student", "tired")),
        "She helps a tired student.",
        "Sie hilft einem müden Studenten.",
    ),
    # subject and verb
    (Clause(ME, verb("read"), accusative=np("the", "book")), "I read the book.", "Ich lese das Buch."),
    (Clause(YOU, verb("read"), accusative=np("the", "book")), "You read the book.", "Du liest das Buch."),
    (Clause(SHE, verb("read"), accusative=np("the", "book")), "She reads the book.", "Sie liest das Buch."),
    (Clause(THEY, verb("read"), accusative=np("the", "book")), "They read the book.", "Sie lesen das Buch."),
    # dative and accusative, nouns and pronouns
    (
        Clause(np("the", "mother"), verb("give"), dative=np("the", "child"), accusative=np("a", "apple")),
        "The mother gives the child an apple.",
        "Die Mutter gibt dem Kind einen Apfel.",
    ),
    (
        Clause(HE, verb("show"), dative=SHE, accusative=np("the", "picture"), **time("today")),
        "He shows her the picture today.",
        "Er zeigt ihr heute das Bild.",
    ),
    (Clause(WE, verb("thank"), dative=THEY), "We thank them.", "Wir danken ihnen."),
    (
        Clause(np("the", "coat"), verb("belong to"), dative=np("my", "sister")),
        "The coat belongs to my sister.",
        "Der Mantel gehört meiner Schwester.",
    ),
    # the verb is second, also after a time
    (
        Clause(np("the", "doctor"), verb("buy"), accusative=np("a", "hat"), **time("today", first=True)),
        "Today the doctor buys a hat.",
        "Heute kauft der Arzt einen Hut.",
    ),
    (
        Clause(np("the", "aunt"), verb("visit"), "past", accusative=WE, **time("last week", first=True)),
        "Last week the aunt visited us.",
        "Letzte Woche hat die Tante uns besucht.",
    ),
    # separable verbs
    (
        Clause(ME, verb("open"), accusative=np("the", "door"), **time("every day")),
        "I open the door every day.",
        "Ich mache jeden Tag die Tür auf.",
    ),
    (
        Clause(np("the", "father"), verb("pick up"), "past", accusative=SHE),
        "The father picked her up.",
        "Der Vater hat sie abgeholt.",
    ),
    (
        Clause(
            np("the", "boy"), verb("throw away"), "must", accusative=np("the", "shoe", "old", plural=True)
        ),
        "The boy must throw away the old shoes.",
        "Der Junge muss die alten Schuhe wegwerfen.",
    ),
    # perfect with haben and sein, future, modal verbs, preterite of to have
    (
        Clause(np("the", "girl", plural=True), verb("run"), "past", place=at(lx.INTO, "the", "house")),
        "The girls ran into the house.",
        "Die Mädchen sind ins Haus gelaufen.",
    ),
    (
        Clause(YOU, verb("repair"), "past", accusative=np("my", "car")),
        "You repaired my car.",
        "Du hast mein Auto repariert.",
    ),
    (
        Clause(YOU, verb("build"), "future", accusative=np("a", "house"), **time("next week")),
        "You will build a house next week.",
        "Du wirst nächste Woche ein Haus bauen.",
    ),
    (
        Clause(SHE, verb("come back"), "want", **time("tomorrow")),
        "She wants to come back tomorrow.",
        "Sie will morgen zurückkommen.",
    ),
    (
        Clause(WE, verb("have"), "past", accusative=np("two", "horse", plural=True)),
        "We had two horses.",
        "Wir hatten zwei Pferde.",
    ),
    (
        Clause(ME, verb("wait"), "had", place=at(verb("wait").preposition, "the", "bus")),
        "I had to wait for the bus.",
        "Ich musste auf den Bus warten.",
    ),
    # two-way prepositions: where takes the dative, where to the accusative
    (
        Clause(np("the", "cup"), verb("stand"), place=at(lx.ON, "the", "table")),
        "The cup stands on the table.",
        "Die Tasse steht auf dem Tisch.",
    ),
    (
        Clause(SHE, verb("place"), accusative=np("the", "cup"), place=at(lx.PUT_ON, "the", "table")),
        "She places the cup on the table.",
        "Sie stellt die Tasse auf den Tisch.",
    ),
    # contractions, and companion before place
    (
        Clause(
            HE,
            verb("go"),
            place=at(lx.TO, "the", "school"),
            companion=at(lx.WITH, "his", "friend", plural=True),
        ),
        "He goes to the school with his friends.",
        "Er geht mit seinen Freunden zur Schule.",
    ),
    (
        Clause(THEY, verb("arrive"), "past", place=at(lx.AT, "the", "station", "small")),
        "They arrived at the small station.",
        "Sie sind am kleinen Bahnhof angekommen.",
    ),
    (
        Clause(
            ME, verb("travel"), place=at(lx.THROUGH, "the", "city"), companion=at(lx.WITHOUT, "my", "dog")
        ),
        "I travel through the city without my dog.",
        "Ich fahre ohne meinen Hund durch die Stadt.",
    ),
    # negation
    (
        Clause(np("the", "man"), verb("buy"), accusative=np("a", "dog"), negated=True),
        "The man does not buy a dog.",
        "Der Mann kauft keinen Hund.",
    ),
    (
        Clause(
            np("the", "man"),
            verb("buy"),
            "past",
            accusative=np("the", "dog"),
            negated=True,
            **time("yesterday"),
        ),
        "The man did not buy the dog yesterday.",
        "Der Mann hat den Hund gestern nicht gekauft.",
    ),
    (
        Clause(ME, verb("eat"), accusative=np("", "apple", "sweet", plural=True), negated=True),
        "I do not eat sweet apples.",
        "Ich esse keine süßen Äpfel.",
    ),
    (
        Clause(WE, verb("sleep"), "can", place=at(lx.IN, "the", "garden"), negated=True),
        "We cannot sleep in the garden.",
        "Wir können nicht im Garten schlafen.",
    ),
    (Clause(SHE, verb("help"), dative=HE, negated=True), "She does not help him.", "Sie hilft ihm nicht."),
    (
        Clause(np("our", "neighbour"), verb("drink"), accusative=np("", "coffee"), frequency="never"),
        "Our neighbour never drinks coffee.",
        "Unser Nachbar trinkt nie Kaffee.",
    ),
    # predicates
    (
        Clause(np("the", "house", plural=True), lx.BE, "past", complement=("old", "alt"), negated=True),
        "The houses were not old.",
        "Die Häuser waren nicht alt.",
    ),
    (
        Clause(np("my", "dog"), lx.BE, complement=comparison(lx.ADJECTIVES["big"], np("your", "cat"))),
        "My dog is bigger than your cat.",
        "Mein Hund ist größer als deine Katze.",
    ),
]


@pytest.mark.parametrize(("clause", "en", "de"), STATEMENTS, ids=[row[1] for row in STATEMENTS])
def test_a_statement_is_as_written_by_hand(clause, en, de):
    made = sentence("statement", english.statement(clause), german.main(clause), ".", clause)
    assert (made.en, made.de) == (en, de)


QUESTIONS = [
    (
        Clause(np("the", "boy"), verb("buy"), accusative=np("the", "book")),
        ("", ""),
        "Does the boy buy the book?",
        "Kauft der Junge das Buch?",
    ),
    (
        Clause(YOU, verb("close"), "can", accusative=np("the", "window")),
        ("", ""),
        "Can you close the window?",
        "Kannst du das Fenster zumachen?",
    ),
    (Clause(THEY, verb("get up"), "past"), ("when", "wann"), "When did they get up?", "Wann sind sie aufgestanden?"),
    (
        Clause(np("your", "uncle"), verb("live"), frequency=None),
        ("where", "wo"),
        "Where does your uncle live?",
        "Wo wohnt dein Onkel?",
    ),
    (Clause(SHE, verb("throw away")), ("what", "was"), "What does she throw away?", "Was wirft sie weg?"),
    (
        Clause(np("the", "cup"), lx.BE, complement=("empty", "leer")),
        ("", ""),
        "Is the cup empty?",
        "Ist die Tasse leer?",
    ),
    (
        Clause(HE, verb("build"), "wanted"),
        (english.nominal(np("how many", "house", plural=True)), german.nominal(np("how many", "house", plural=True), "acc")),
        "How many houses did he want to build?",
        "Wie viele Häuser wollte er bauen?",
    ),
    (
        Clause(WE, verb("help"), "should"),
        (english.nominal(np("which", "child", "sick")), german.nominal(np("which", "child", "sick"), "dat")),
        "Which sick child should we help?",
        "Welchem kranken Kind sollen wir helfen?",
    ),
    (Clause(YOU, verb("invite")), (lx.WHO.en_object, lx.WHO.acc), "Whom do you invite?", "Wen lädst du ein?"),
]  # fmt: skip


@pytest.mark.parametrize(("clause", "front", "en", "de"), QUESTIONS, ids=[row[2] for row in QUESTIONS])
def test_a_question_is_as_written_by_hand(clause, front, en, de):
    made = sentence(
        "question", english.question(clause, front[0]), german.inverted(clause, front[1]), "?", clause
    )
    assert (made.en, made.de) == (en, de)


SUBORDINATES = [
    (Clause(HE, verb("read"), accusative=np("the", "letter")), "er den Brief liest"),
    (Clause(HE, verb("call"), "past", accusative=np("the", "doctor")), "er den Arzt angerufen hat"),
    (Clause(np("the", "boy"), verb("get up"), **time("today")), "der Junge heute aufsteht"),
    (Clause(WE, verb("tidy up"), "must", accusative=np("the", "room")), "wir das Zimmer aufräumen müssen"),
    (Clause(ME, verb("come back"), "future", **time("tomorrow")), "ich morgen zurückkommen werde"),
    (Clause(SHE, verb("lay"), accusative=np("a", "hat"), place=at(lx.PUT_ON, "the", "bed"), negated=True),
     "sie keinen Hut auf das Bett legt"),
    (Clause(lx.IT, lx.RAIN, "past"), "es geregnet hat"),
    (Clause(YOU, lx.BE, complement=("tired", "müde"), negated=True), "du nicht müde bist"),
]  # fmt: skip


@pytest.mark.parametrize(("clause", "de"), SUBORDINATES, ids=[row[1] for row in SUBORDINATES])
def test_the_verb_of_a_subordinate_clause_comes_last(clause, de):
    assert german.subordinate(clause) == de


@pytest.mark.parametrize(
    ("person", "de"),
    [
        (np("the", "farmer"), "Der Bauer, der mir hilft, ist müde."),
        (np("the", "singer"), "Die Sängerin, die mir hilft, ist müde."),
        (np("the", "girl"), "Das Mädchen, das mir hilft, ist müde."),
        (np("the", "man", plural=True), "Die Männer, die mir helfen, sind müde."),
    ],
)
def test_a_relative_clause_agrees_with_its_noun_and_stands_between_commas(person, de):
    inner = Clause(relative_pronoun(person), verb("help"), dative=ME)
    whole = NounPhrase(person.noun, person.determiner, person.plural, relative=inner)
    clause = Clause(whole, lx.BE, complement=("tired", "müde"))
    assert sentence("relative clause", english.statement(clause), german.main(clause), ".", clause).de == de


def test_a_relative_clause_at_the_end_leaves_no_comma_before_the_full_stop():
    whole = NounPhrase(
        lx.NOUNS["man"], "the", relative=Clause(relative_pronoun(np("the", "man")), verb("laugh"))
    )
    clause = Clause(ME, verb("see"), accusative=whole)
    made = sentence("relative clause", english.statement(clause), german.main(clause), ".", clause)
    assert (made.en, made.de) == ("I see the man who laughs.", "Ich sehe den Mann, der lacht.")


def test_combinations_are_counted_in_every_part_of_a_sentence():
    inner = Clause(Pronoun("who", "whom", "die", "die", "der", 2), verb("wait"),
                   place=at(verb("wait").preposition, "the", "train", "new"))  # fmt: skip
    subject = NounPhrase(lx.NOUNS["woman"], "the", adjective=lx.ADJECTIVES["sick"], relative=inner)
    clause = Clause(subject, verb("give"), dative=np("the", "boy"), accusative=np("a", "ball", "red"))
    assert set(combinations(clause)) == {
        ("adjective noun", "sick", "woman"),
        ("subject verb", "woman", "give"),
        ("subject verb", "woman", "wait"),
        ("verb object", "wait", "train"),
        ("adjective noun", "new", "train"),
        ("verb object", "give", "boy"),
        ("verb object", "give", "ball"),
        ("adjective noun", "red", "ball"),
    }
