"""Know the words on which it hangs what a sentence says: numbers, negations, limits, comparisons, conditions.

Languages whose letters are all of one case are not here: of them no word is ever offered to a scorer.
"""

# ruff: noqa: RUF001 - letters of Greek and Turkish are what they look like
import re
from typing import Final

_BY_LANGUAGE: Final = {
    "English negations, exceptions and duties": "no not nor none never neither nobody nothing nowhere without except "
    "excluding unless cannot hardly barely scarcely rarely seldom only solely merely if but although though however "
    "instead otherwise lest rather despite whether or must shall should may might can could would ought fails failed "
    "lacks lacked denied refused false wrong untrue",
    "English limits and times": "than more most less least fewer fewest few almost nearly about around approximately "
    "roughly exactly precisely over under above below beyond within between before after until till since during "
    "while when once by per minimum maximum min max",
    "English comparisons": "greater greatest larger largest smaller smallest bigger biggest higher highest lower "
    "lowest longer longest shorter shortest older oldest younger youngest taller tallest better best worse worst "
    "earlier earliest later latest sooner faster fastest slower slowest cheaper cheapest dearer heavier heaviest "
    "lighter lightest stronger weaker nearer nearest closer closest further farther wider narrower deeper equal same "
    "different",
    "English shares": "all every each any some both either many several much enough last next previous",
    "English numbers": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds "
    "thousand thousands million millions billion billions trillion trillions dozen dozens score scores half halves "
    "quarter quarters first second third thirds fourth fourths fifth fifths sixth seventh eighth ninth tenth tenths "
    "eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth "
    "fortieth fiftieth sixtieth seventieth eightieth ninetieth hundredth hundredths thousandth thousandths millionth "
    "billionth twice thrice single double triple quadruple twofold threefold tenfold couple pair percent",
    "German": "nicht nichts nein kein keine keinen keinem keiner keines nie niemals niemand niemanden niemandem "
    "nirgends nirgendwo ohne weder noch außer ausser nur kaum mehr weniger mindestens höchstens wenigstens bis vor "
    "nach wenn falls sondern aber als sofern muss darf soll kann über unter fast etwa halb halbe doppelt null ein "
    "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig hundert tausend",
    "French": "ne pas non jamais rien aucun aucune personne guère sans ni nul nulle sauf hormis excepté seulement que "
    "plus moins mais si avant après jusque depuis presque environ doit peut demi demie moitié tiers quart zéro un une "
    "deux trois quatre cinq six sept huit neuf dix onze douze vingt trente quarante cinquante soixante cent cents "
    "mille million millions premier première deuxième troisième",
    "Spanish": "no ni nunca jamás jamas nada nadie ningún ningun ninguno ninguna sin salvo excepto sólo solo solamente "
    "tampoco más menos pero si antes después hasta desde casi debe puede medio media mitad tercio cero uno una dos "
    "tres cuatro cinco seis siete ocho nueve diez once doce veinte treinta cien ciento mil millón millones",
    "Portuguese": "não nao nem nunca jamais nada ninguém nenhum nenhuma sem exceto apenas só somente tampouco mais "
    "menos mas se antes depois até desde quase deve pode meio meia metade terço um uma dois duas três quatro cinco "
    "seis sete oito nove dez onze doze vinte trinta cem cento mil milhão milhões",
    "Italian": "non no né mai niente nulla nessuno nessuna nessun senza tranne eccetto salvo solo soltanto neanche "
    "nemmeno neppure più meno ma se prima dopo fino quasi deve può mezzo mezza metà terzo uno una due tre quattro "
    "cinque sei sette otto nove dieci undici dodici venti trenta cento mille milione milioni",
    "Catalan and Romanian": "mai cap res ningú sense només nu nici niciodată nimic nimeni fără doar decât",
    "Dutch and Afrikaans": "geen niet niets nee nooit niemand nergens zonder noch behalve alleen slechts tenzij minder "
    "meer minstens hoogstens maar als tot voor na nie een twee drie vier vijf zes zeven acht negen tien elf twaalf "
    "half honderd duizend miljoen",
    "Danish, Norwegian, Swedish and Icelandic": "ikke ikkje inte ej icke ingen inget inga intet ingenting aldrig aldri "
    "utan uden uten bara kun bare endast varken hverken verken nej nei mindre mere mer än enn før før innan efter "
    "til till men en et ett två tre fire fyra fem seks sex syv sju otte åtta ni ti tio halv hundre hundra tusen "
    "ekki aldrei enginn engin ekkert án",
    "Polish": "nie nigdy nic nikt nikogo żaden żadna żadne żadnego żadnej bez ani oprócz tylko chyba brak więcej mniej "
    "niż przed po jeśli ale jeden dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć pół sto tysiąc",
    "Czech, Slovak, Slovene, Croatian and Serbian": "ne není neni nikdy nikdo nic nič žádný žádná žádné žiadny bez ani "
    "kromě okrem jen pouze iba nie nije nisu nisam nikad nikada nikoli ni niti samo osim više manje víc méně než "
    "jeden dva tři tri čtyři pět půl sto tisíc",
    "Russian, Ukrainian, Bulgarian and Serbian": "не нет ни никогда никто никого ничто ничего нигде никуда никакой "
    "никаких нельзя без кроме только лишь если но или больше меньше более менее чем до после перед ні немає ніколи "
    "ніхто нічого крім лише тільки няма никой нищо освен само није никад один одна два две три четыре пять шесть "
    "семь восемь девять десять половина сто тысяча тысяч миллион миллионов",
    "Greek": "δεν δε μη μην όχι ποτέ κανένας κανείς καμία κανένα χωρίς ούτε μήτε τίποτα τίποτε μόνο εκτός αν αλλά πριν "
    "μετά",
    "Turkish": "değil yok hayır asla hiç hiçbir olmadan sadece yalnız ancak fakat eğer",
    "Finnish, Estonian and Hungarian": "ei en et emme ette eivät älä älkää ilman koskaan mitään kukaan paitsi vain "
    "mitte kunagi keegi ilma nem ne nincs sincs se sem soha semmi senki nélkül kivéve csak",
    "Indonesian and Malay": "tidak tak bukan jangan tanpa belum kecuali hanya kurang lebih",
    "Vietnamese": "không chưa đừng chẳng chả ngoài chỉ",
    "Latvian and Lithuanian": "nav nē nekad neviens bez tikai nėra niekada niekas be tik",
    "Georgian and Armenian": "არ არა ვერ ნუ არასოდეს გარეშე მხოლოდ ոչ երբեք առանց միայն",
    "Albanian, Basque, Welsh, Irish, Swahili and Tagalog": "nuk mos pa jo asnjë ez inoiz gabe ni nid ddim heb ní níl "
    "gan hapana bila kamwe hindi wala huwag",
}

TELLING: Final = frozenset(word for words in _BY_LANGUAGE.values() for word in words.split())
"""Words without which a sentence says something else; those of one language are kept in all."""

_NUMBERS: Final = frozenset(_BY_LANGUAGE["English numbers"].split())
_DIGIT: Final = re.compile(r"\d")
_BARE: Final = re.compile(r"[^\W_]+")
_HOLDS_BOTH: Final = frozenset(("than", "most", "least"))
"""What is nothing without the words beside it: taller than he, at most three."""


def is_number(word: str) -> bool:
    """Tell whether a word holds digits or is a number's: `1,200`, `seven`, `twenty-one`."""
    return _DIGIT.search(word) is not None or any(each in _NUMBERS for each in _BARE.findall(word.lower()))


def holds_neighbours(word: str) -> bool:
    """Tell whether the words beside a word say what it is of: `over 12 metres`, `at most seven`, `taller than`."""
    return is_number(word) or not _HOLDS_BOTH.isdisjoint(_BARE.findall(word.lower()))
