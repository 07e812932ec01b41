"""The words of the embedded corpus: nouns, adjectives, verbs, pronouns, prepositions and times.

Each English word has one German word, so that an English sentence has one translation. Tags say which
words make sense together: a verb takes the objects, and an adjective the nouns, that share a tag with it.
"""

from __future__ import annotations

from structure import HE, I_, PLURAL, YOU, Adjective, Noun, Preposition, Pronoun, Time, Verb

# English, plural ("-": none), gender, German singular (/oblique), plural ("-": none), tags
_NOUNS = """
teacher teachers m Lehrer Lehrer person own adult
doctor doctors m Arzt Ärzte person own adult
student students m Student/Studenten Studenten person adult
neighbour neighbours m Nachbar/Nachbarn Nachbarn person own adult
boy boys m Junge/Jungen Jungen person child
man men m Mann Männer person adult
woman women f Frau Frauen person adult
girl girls n Mädchen Mädchen person child
child children n Kind Kinder person child own
friend friends m Freund Freunde person own adult
brother brothers m Bruder Brüder person family child
sister sisters f Schwester Schwestern person family child
mother - f Mutter - person family
father - m Vater - person family
grandmother - f Großmutter - person family
aunt aunts f Tante Tanten person family adult
uncle uncles m Onkel Onkel person family adult
daughter daughters f Tochter Töchter person family child
farmer farmers m Bauer/Bauern Bauern person adult
singer singers f Sängerin Sängerinnen person adult
dog dogs m Hund Hunde animal
cat cats f Katze Katzen animal
horse horses n Pferd Pferde animal
bird birds m Vogel Vögel animal
book books n Buch Bücher thing read text gift light
letter letters m Brief Briefe read text opening gift light
key keys m Schlüssel Schlüssel thing light
bag bags f Tasche Taschen thing opening vessel coloured load
cup cups f Tasse Tassen thing vessel coloured
lamp lamps f Lampe Lampen thing repair coloured gift
picture pictures n Bild Bilder thing view gift
ball balls m Ball Bälle thing coloured gift light
box boxes f Kiste Kisten thing opening vessel load
bottle bottles f Flasche Flaschen thing opening vessel
coat coats m Mantel Mäntel wear coloured
shirt shirts n Hemd Hemden wear coloured gift
dress dresses n Kleid Kleider wear coloured gift
hat hats m Hut Hüte wear coloured gift light
shoe shoes m Schuh Schuhe wear coloured
car cars n Auto Autos vehicle repair coloured
bicycle bicycles n Fahrrad Fahrräder vehicle repair coloured gift
train trains m Zug Züge transport
bus buses m Bus Busse transport coloured repair
table tables m Tisch Tische furniture surface repair built
chair chairs m Stuhl Stühle furniture surface repair coloured
bed beds n Bett Betten furniture surface
cupboard cupboards m Schrank Schränke furniture load opening repair
apple apples m Apfel Äpfel food sweet
egg eggs n Ei Eier food cooked
potato potatoes f Kartoffel Kartoffeln food cooked
tomato tomatoes f Tomate Tomaten food
cake cakes m Kuchen Kuchen food sweet baked
bread - n Brot - food baked mass
soup - f Suppe - food cooked hot mass
milk - f Milch - drink mass hot
water - n Wasser - drink mass hot
tea - m Tee - drink mass hot sweet
coffee - m Kaffee - drink mass hot
juice - m Saft - drink mass sweet
film films m Film Filme view
story stories f Geschichte Geschichten text told read
poem poems n Gedicht Gedichte text told read
question questions f Frage Fragen asked
answer answers f Antwort Antworten asked
house houses n Haus Häuser place built sight
school schools f Schule Schulen place built goal
church churches f Kirche Kirchen place built sight goal
museum museums n Museum Museen place sight goal
library libraries f Bibliothek Bibliotheken place goal
garden gardens m Garten Gärten place
park parks m Park Parks place
kitchen kitchens f Küche Küchen place tidied
room rooms n Zimmer Zimmer place tidied hollow
office offices n Büro Büros place tidied
city cities f Stadt Städte place sight
village villages n Dorf Dörfer place sight
forest forests m Wald Wälder place
station stations m Bahnhof Bahnhöfe spot goal
lake lakes m See Seen spot goal
bridge bridges f Brücke Brücken spot built
door doors f Tür Türen opening spot coloured repair
window windows n Fenster Fenster opening spot
flower flowers f Blume Blumen plant coloured gift
tree trees m Baum Bäume plant
"""

# English, comparative, German, stem, comparative, tags of the nouns it goes with
_ADJECTIVES = """
big bigger groß groß größer animal furniture place plant vehicle transport load
small smaller klein klein kleiner animal furniture place plant vehicle thing
old older alt alt älter person animal furniture place vehicle wear thing plant
young younger jung jung jünger adult child animal
new - neu neu - furniture wear vehicle thing transport
beautiful - schön schön - animal plant wear sight view
expensive - teuer teur - furniture wear vehicle thing
heavy heavier schwer schwer schwerer furniture load
red - rot rot - coloured
green - grün grün - coloured
black - schwarz schwarz - coloured
friendly - freundlich freundlich - person
tired - müde müd - person animal
happy - glücklich glücklich - person
sick - krank krank - person animal
fresh - frisch frisch - food
cold - kalt kalt - drink hot
hot - heiß heiß - hot
sweet - süß süß - sweet
empty - leer leer - vessel hollow
dark - dunkel dunkl - tidied
interesting - interessant interessant - read view text asked
long - lang lang - read told view
"""

# English forms (+: phrasal particle, =: preposition-like), German prefix+infinitive, ich, du, er,
# participle (s/: with sein), tags of the objects
_TRANSITIVE = """
buy buys bought kaufen kaufe kaufst kauft gekauft thing food wear vehicle furniture plant
sell sells sold verkaufen verkaufe verkaufst verkauft verkauft thing food wear vehicle furniture animal plant
see sees saw sehen sehe siehst sieht gesehen person animal transport sight view
look=for looks looked suchen suche suchst sucht gesucht thing wear person animal
need needs needed brauchen brauche brauchst braucht gebraucht thing wear vehicle furniture
have has had haben habe hast hat gehabt thing animal vehicle gift
love loves loved lieben liebe liebst liebt geliebt person animal
eat eats ate essen esse isst isst gegessen food
drink drinks drank trinken trinke trinkst trinkt getrunken drink
read reads - lesen lese liest liest gelesen read
write writes wrote schreiben schreibe schreibst schreibt geschrieben text
wear wears wore tragen trage trägst trägt getragen wear
repair repairs repaired reparieren repariere reparierst repariert repariert repair
visit visits visited besuchen besuche besuchst besucht besucht person sight
cook cooks cooked kochen koche kochst kocht gekocht cooked
build builds built bauen baue baust baut gebaut built
forget forgets forgot vergessen vergesse vergisst vergisst vergessen thing wear asked
open opens opened auf+machen mache machst macht aufgemacht opening
close closes closed zu+machen mache machst macht zugemacht opening
invite invites invited ein+laden lade lädst lädt eingeladen person
call calls called an+rufen rufe rufst ruft angerufen person
pick+up picks picked ab+holen hole holst holt abgeholt person load
watch watches watched an+schauen schaue schaust schaut angeschaut view
throw+away throws threw weg+werfen werfe wirfst wirft weggeworfen light wear food
tidy+up tidies tidied auf+räumen räume räumst räumt aufgeräumt tidied
"""
_DATIVE = """
help helps helped helfen helfe hilfst hilft geholfen person animal
thank thanks thanked danken danke dankst dankt gedankt person
follow follows followed folgen folge folgst folgt s/gefolgt person animal
answer=- answers answered antworten antworte antwortest antwortet geantwortet person
listen=to listens listened zu+hören höre hörst hört zugehört person
"""
_GIVING = """
give gives gave geben gebe gibst gibt gegeben gift food
show shows showed zeigen zeige zeigst zeigt gezeigt gift view place
bring brings brought bringen bringe bringst bringt gebracht food drink thing
tell tells told erzählen erzähle erzählst erzählt erzählt told
"""
# as above, with the German preposition and its case before the tags
_PREPOSITIONAL = """
wait=for waits waited warten warte wartest wartet gewartet auf acc person transport
think=of thinks thought denken denke denkst denkt gedacht an acc person animal
speak=with speaks spoke sprechen spreche sprichst spricht gesprochen mit dat person
play=with plays played spielen spiele spielst spielt gespielt mit dat child animal
"""
_RESTING = """
sleep sleeps slept schlafen schlafe schläfst schläft geschlafen
work works worked arbeiten arbeite arbeitest arbeitet gearbeitet
sit sits sat sitzen sitze sitzt sitzt gesessen
live lives lived wohnen wohne wohnst wohnt gewohnt
arrive arrives arrived an+kommen komme kommst kommt s/angekommen
"""
_MOVING = """
go goes went gehen gehe gehst geht s/gegangen
travel travels traveled fahren fahre fährst fährt s/gefahren
run runs ran laufen laufe läufst läuft s/gelaufen
"""
_PLACING = """
place places placed stellen stelle stellst stellt gestellt vessel
lay lays laid legen lege legst legt gelegt light
"""
_ALONE = """
get+up gets got auf+stehen stehe stehst steht s/aufgestanden
fall+asleep falls fell ein+schlafen schlafe schläfst schläft s/eingeschlafen
come+back comes came zurück+kommen komme kommst kommt s/zurückgekommen
laugh laughs laughed lachen lache lachst lacht gelacht
"""
_SAYING = """
know knows knew wissen weiß weißt weiß gewusst
believe believes believed glauben glaube glaubst glaubt geglaubt
hope hopes hoped hoffen hoffe hoffst hofft gehofft
say says said sagen sage sagst sagt gesagt
"""
_OTHER = """
be is was sein bin bist ist s/gewesen
ask asks asked fragen frage fragst fragt gefragt
stand stands stood stehen stehe stehst steht gestanden
belong=to belongs belonged gehören gehöre gehörst gehört gehört person
cost costs - kosten koste kostest kostet gekostet
rain rains rained regnen regne regnest regnet geregnet
"""


def _rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().split("\n")]


def _noun(row: list[str]) -> Noun:
    en, en_plural, gender, de, de_plural, *tags = row
    de, _, oblique = de.partition("/")
    en_plural, de_plural = ("" if form == "-" else form for form in (en_plural, de_plural))
    return Noun(en, en_plural, gender, de, oblique or de, de_plural, frozenset(tags))


def _adjective(row: list[str]) -> Adjective:
    en, en_comparative, de, stem, de_comparative, *tags = row
    en_comparative, de_comparative = (
        "" if form == "-" else form for form in (en_comparative, de_comparative)
    )
    return Adjective(en, en_comparative, de, stem, de_comparative, frozenset(tags))


def _verb(row: list[str], with_preposition: bool = False) -> Verb:
    en, en_s, en_past, infinitive, ich, du, er, participle, *rest = row
    phrasal = "+" in en
    en, _, particle = en.replace("+", "=").partition("=")
    prefix, _, bare_infinitive = infinitive.rpartition("+")
    auxiliary = "sein" if participle.startswith("s/") else "haben"
    preposition = None
    if with_preposition:
        de, case, *rest = rest
        preposition = Preposition(particle, de, "acc" if case == "acc" else "dat")
    return Verb(
        en=en,
        en_s=en_s,
        en_past="" if en_past == "-" else en_past,
        particle="" if preposition or particle == "-" else particle,
        phrasal=phrasal,
        prefix=prefix,
        infinitive=bare_infinitive,
        finite=(ich, du, er, "sind" if bare_infinitive == "sein" else bare_infinitive),
        participle=participle.removeprefix("s/"),
        auxiliary=auxiliary,
        object_tags=frozenset(rest),
        preposition=preposition,
        preterite=PRETERITES.get(bare_infinitive),
    )


PRETERITES = {
    "sein": ("war", "warst", "war", "waren"),
    "haben": ("hatte", "hattest", "hatte", "hatten"),
}

NOUNS = {row[0]: _noun(row) for row in _rows(_NOUNS)}
ADJECTIVES = {row[0]: _adjective(row) for row in _rows(_ADJECTIVES)}
TRANSITIVE = [_verb(row) for row in _rows(_TRANSITIVE)]
DATIVE = [_verb(row) for row in _rows(_DATIVE)]
GIVING = [_verb(row) for row in _rows(_GIVING)]
PREPOSITIONAL = [_verb(row, with_preposition=True) for row in _rows(_PREPOSITIONAL)]
RESTING = [_verb(row) for row in _rows(_RESTING)]
MOVING = [_verb(row) for row in _rows(_MOVING)]
PLACING = [_verb(row) for row in _rows(_PLACING)]
ALONE = [_verb(row) for row in _rows(_ALONE)]
SAYING = [_verb(row) for row in _rows(_SAYING)]
BE, ASK, STAND, BELONG, COST, RAIN = (_verb(row) for row in _rows(_OTHER))

PRONOUNS = (
    Pronoun("I", "me", "ich", "mich", "mir", I_),
    Pronoun("you", "you", "du", "dich", "dir", YOU),
    Pronoun("he", "him", "er", "ihn", "ihm", HE),
    Pronoun("she", "her", "sie", "sie", "ihr", HE),
    Pronoun("we", "us", "wir", "uns", "uns", PLURAL),
    Pronoun("they", "them", "sie", "sie", "ihnen", PLURAL),
)
IT = Pronoun("it", "it", "es", "es", "ihm", HE)
WHO = Pronoun("who", "whom", "wer", "wen", "wem", HE)

POSSESSIVES = {"my": "mein", "your": "dein", "his": "sein", "her": "ihr", "our": "unser", "their": "ihr"}
NUMBERS = {
    "two": "zwei",
    "three": "drei",
    "four": "vier",
    "five": "fünf",
    "six": "sechs",
    "seven": "sieben",
    "eight": "acht",
    "nine": "neun",
    "ten": "zehn",
    "eleven": "elf",
    "twelve": "zwölf",
    "twenty": "zwanzig",
}

# location: dative; direction: the accusative of the same prepositions
IN, AT, ON = Preposition("in", "in", "dat"), Preposition("at", "an", "dat"), Preposition("on", "auf", "dat")
BESIDE, BEHIND = Preposition("beside", "neben", "dat"), Preposition("behind", "hinter", "dat")
INTO, PUT_ON = Preposition("into", "in", "acc"), Preposition("on", "auf", "acc")
PUT_BESIDE = Preposition("beside", "neben", "acc")
TO, OUT_OF = Preposition("to", "zu", "dat"), Preposition("out of", "aus", "dat")
THROUGH, FOR = Preposition("through", "durch", "acc"), Preposition("for", "für", "acc")
WITH, WITHOUT = Preposition("with", "mit", "dat"), Preposition("without", "ohne", "acc")

_PRESENT = frozenset({"present", "can", "must", "want", "should"})
_PAST = frozenset({"past", "wanted", "had"})
_FUTURE = frozenset({"future"})
TIMES = (
    Time("today", "heute", _PRESENT | _FUTURE),
    Time("every day", "jeden Tag", _PRESENT - {"should"}),
    Time("in the evening", "am Abend", _PRESENT | _PAST | _FUTURE),
    Time("on Monday", "am Montag", _PRESENT | _PAST | _FUTURE),
    Time("yesterday", "gestern", _PAST),
    Time("last week", "letzte Woche", _PAST),
    Time("last year", "letztes Jahr", _PAST),
    Time("tomorrow", "morgen", _FUTURE | {"can", "must", "want", "should"}),
    Time("next week", "nächste Woche", _FUTURE | {"can", "must", "want", "should"}),
)
FREQUENCIES = {"often": "oft", "always": "immer", "never": "nie", "sometimes": "manchmal"}
