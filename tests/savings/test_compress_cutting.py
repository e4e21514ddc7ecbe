"""Texts of every make lose what the question does not need, and never all they have while there is room."""

# ruff: noqa: RUF001 - the signs of other scripts are what is tested
import json
import random
from typing import Final

import numpy as np
import pytest

from bursar.savings.compress.choose import Cost, choose, queue
from bursar.savings.compress.compress import compress, estimate
from bursar.savings.compress.prompt import Budget
from bursar.savings.compress.sentences import cut
from bursar.savings.compress.units import find
from bursar.wires.parts import Kind, Part

ROWS = range(120)
FILES = "\n".join(f"src/tower/{'part' * (row % 3)}file_{row}.py" for row in ROWS)
MATCHES = "\n".join(
    f"src/{'a' * (row % 7)}.py:{row}:    the bridge of row {row} " + "is long " * (row % 5) for row in ROWS
)
TABLE = "\n".join(f"oslo,{row},open,{row * 7 % 13}" for row in ROWS)
YAML = "\n".join(f"  name{row}:\n    port: {row}\n    host: h{row}" for row in ROWS)
XML = "<r>" + "".join(f"<item><id>{row}</id><name>tower {row}</name></item>" for row in ROWS) + "</r>"
COUNTED = "\n".join(f"line {row} tower" for row in ROWS)
ENDLESS = "word tower " * 3_000


def left_of(text: str, question: str, ratio: float) -> str:
    """Return what is left of a tool's result, and check that it is no more than was asked for."""
    parts = [Part(text, Kind.retrieved, ("m", 1)), Part(question, Kind.user, protected=True)]
    found = compress(parts, question, Budget(ratio=ratio))
    assert found.tokens_after <= found.tokens_before / ratio
    return found.texts[0]


@pytest.mark.parametrize("text", [FILES, MATCHES, TABLE, YAML, XML, COUNTED, ENDLESS])
@pytest.mark.parametrize("ratio", [2, 8])
def test_a_result_without_full_stops_fills_most_of_its_room(text: str, ratio: int) -> None:
    left = left_of(text, "where is tower 77", ratio)
    assert 0.6 * estimate(text) / ratio <= estimate(left) <= estimate(text) / ratio


def test_of_one_line_that_is_too_long_its_beginning_stays() -> None:
    left = left_of("so it goes on and on without an end " * 10, "where", 6)
    assert left == "so it goes on and on without an end… "


def test_wrapped_prose_is_not_taken_for_lines() -> None:
    text = (
        "The tower is a lattice of iron that stands\nbeside the river, where it was completed in\n"
        "the year of the fair by an engineer who had\nbuilt bridges before it. Its lifts carry so\nmany"
        " visitors a year."
    )
    assert [text[first:last] for first, last in cut(text)[0].sentences] == [
        text[: text.index("Its")],
        text[text.index("Its") :],
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("هذا برج إيفل. اكتمل عام 1889. أين يقع؟ في باريس.", 4),
        ("यह एफिल टॉवर है। यह 1889 में पूरा हुआ। कब खुला?", 3),
        ("یہ ایفل ٹاور ہے۔ یہ پیرس میں ہے۔", 2),
        ("「塔很高。」他说。桥很长！", 3),
        ("Ο πύργος είναι ψηλός. Ολοκληρώθηκε το 1889. Η γέφυρα είναι μακριά.", 3),
        ("ก่อตั้งเมื่อ พ.ศ. 2325 โดยรัชกาลที่หนึ่ง", 1),
        ("กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุด เป็นศูนย์กลางการปกครองการศึกษาการคมนาคม ฝนตก", 2),
        ("Dr. Smith met J. Roebling at 5 p.m. on Monday. He left.", 2),
    ],
)
def test_sentences_end_as_their_script_ends_them(text: str, sentences: int) -> None:
    (passage,) = cut(text)
    assert len(passage.sentences) == sentences
    assert "".join(text[first:last] for first, last in passage.sentences) == text


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("埃菲尔铁塔位于巴黎。它于1889年完工。塔桥于1894年由威尔士亲王开放。长城很长。", "塔桥何时开放", "塔桥于"),
        ("Погода была. Эйфелева башня в Париже. Тауэрский мост открыт в 1894.", "Когда открыт Тауэрский мост", "мост"),
        ("La Torre está allá. El puente fue inaugurado en 1894. Llovía.", "¿Quién inauguró el puente?", "189"),
    ],
)  # fmt: skip
def test_words_of_the_question_decide_in_other_languages(text: str, question: str, answer: str) -> None:
    found = compress([Part(text, Kind.retrieved)], question, Budget(ratio=1.7))
    assert answer in found.texts[0]


def test_a_question_in_a_dialogue_stays_with_its_own_answer() -> None:
    text = (
        "Ann: Did you book the hotel?\nBob: Yes, for two nights.\nAnn: Did you book the flights?\nBob: Not needed.\n"
        "Ann: Fine.\nBob: Bye."
    )
    for ratio in (1.3, 1.6, 2.2):
        left = left_of(text, "did bob book the hotel", ratio)
        for asked, answered in (("hotel?", "Yes, for two"), ("flights?", "Not needed")):
            assert (asked in left) == (answered in left)
        assert "hotel?\nBob: Not" not in left


def test_a_sign_stands_where_something_between_went() -> None:
    text = "Tower Bridge was opened in 1894. Rain fell all over the north and the south. Tower Bridge opened for ships."
    assert left_of(text, "when was tower bridge opened", 1.3) == (
        "Tower Bridge was opened in 1894. … Tower Bridge opened for ships."
    )


def test_what_takes_a_sentence_back_goes_with_it() -> None:
    text = (
        "It was tested in 2010. The box is blue. The drug is safe for adults. This does not hold for children. "
        "Never give it to them. It costs 5 dollars and is sold in boxes of ten."
    )
    taken_back = "The drug is safe for adults. This does not hold for children. Never give it to them."
    for ratio in (1.2, 1.5, 1.8):
        left = left_of(text, "is the drug safe for adults", ratio)
        assert ("safe for adults" in left) == (taken_back in left)


GUIDE = """# Guide

## Towers

The Eiffel Tower is in Paris. It was completed in 1889.

It has lifts.

## Bridges

Tower Bridge was opened in 1894. It is blue.

Rivers and Their Floods

The Thames is long, and runs through London to the sea. It floods rarely, and if so then in spring, before noon.
"""


SECTIONS = {
    "## Towers": ("in Paris", "completed", "lifts"),
    "## Bridges": ("opened in 1894", "is blue", "is long", "floods rarely"),  # it heads the next as well
    "Rivers and Their Floods": ("is long", "floods rarely"),
}


@pytest.mark.parametrize("question", ["when was tower bridge opened", "when does the thames flood", "who built lifts"])
@pytest.mark.parametrize("ratio", [1.3, 1.6, 2.0, 2.5, 3.0])
def test_a_heading_stays_with_any_of_what_it_heads_and_goes_with_the_last(question: str, ratio: float) -> None:
    left = left_of(GUIDE, question, ratio)
    for heading, said in SECTIONS.items():
        assert (heading in left) == any(each in left for each in said)
    assert left.startswith("# Guide")


def test_a_plain_heading_is_the_title_of_what_it_heads() -> None:
    assert [passage.title for passage in cut("Floods\n\nIt rains.")] == ["", ""]
    units = find([Part(GUIDE, Kind.retrieved)], [0])
    assert units.blocks[-1].title == "Rivers and Their Floods"
    assert [heading.level for heading in units.headings] == [1, 2, 2, 7]


def test_a_heading_above_code_stays() -> None:
    text = "## Install\n\nRain fell on the roof all day long.\n\n```sh\nmake install\n```\n\n"
    text += "## Weather\n\nSnow fell then, and rain.\n"
    left = compress([Part(text, Kind.retrieved)], "how", Budget(ratio=100)).texts[0]
    assert left.startswith("## Install\n\n```sh")
    assert "Weather" not in left


@pytest.mark.parametrize("ratio", [1.2, 1.4, 1.8, 3])
def test_blocks_of_code_keep_their_own_lines(ratio: float) -> None:
    text = (
        "Install it.\n```sh\nmake install\n```\nRain is wet. So it goes.\n```sh\nmake test\n```\nDone now. It is over."
    )
    left = compress([Part(text, Kind.retrieved)], "how do i test", Budget(ratio=ratio)).texts[0]
    assert "```sh\nmake install\n```\n" in left
    assert "\n```sh\nmake test\n```" in left
    assert left.count("```") == 4


def test_prose_beside_too_much_code_is_cut_by_the_ratio_not_to_nothing() -> None:
    prose = "The tower is tall. The bridge was opened in 1894. Rain fell on it. Snow fell there."
    text = prose + "\n```py\n" + "x = 1\n" * 200 + "```"
    found = compress([Part(text, Kind.retrieved)], "when was the bridge opened", Budget(ratio=2))
    assert "1894" in found.texts[0]
    assert "Rain" not in found.texts[0]
    assert compress([Part(text, Kind.retrieved)], "when", Budget(tokens=50)).texts == (text,)


def test_a_name_that_begins_another_is_not_taken_for_it() -> None:
    draw = random.Random(7)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    blobs = ["".join(draw.choices(letters, k=300)) for _ in range(10)]
    text = "\n\n".join(f"File {number} is here: {blob}" for number, blob in enumerate(blobs))
    found = compress([Part(text, Kind.retrieved)], "where is file 9", Budget(ratio=60))
    named = {each.name for each in found.handles}
    assert named == {each for each in [f"base64-{n}" for n in range(1, 11)] if f"ask for {each}]" in found.texts[0]}


def test_choosing_among_very_many_passages_takes_little_work() -> None:
    """Each of 40,000 passages opens its own head, which a heap built anew each time would never end."""
    size = 40_000
    cost = Cost([3] * size, [number // 2 for number in range(size)], [1] * (size // 2), [1] * (size // 2))
    kept = choose(queue(np.linspace(-3, 3, size), cost), 10**9)
    assert kept == list(range(size))


ODD: Final = {
    "a key twice": json.dumps({"id": 7, "notes": [f"Note {n} is here. It was read." for n in range(40)]})[:-1]
    + ', "id": 8}',
    "no number": '{"values": [' + ", ".join(["NaN"] * 60) + ', "Not one. Not two."]}',
    "lines of such": "\n".join(f'{{"n": {n}, "n": NaN, "says": "It is {n}. So it is."}}' for n in range(40)),
    "over lines": '{\n  "n": 1,\n  "n": 2,\n  "text": "One. Two. Three.",\n  "more": [\n    NaN\n  ]\n}',
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("ratio", [2.0, 20.0])
def test_json_that_could_be_read_in_two_ways_comes_out_as_it_came(odd: str, ratio: float) -> None:
    alone = compress([Part(odd, Kind.retrieved)], "what is the note", Budget(ratio=ratio))
    assert (alone.texts, alone.removals) == ((odd,), ())
    prose = "The harbour is old. " * 20 + "The note is blue."
    among = compress([Part(f"{prose}\n{odd}\n{prose}", Kind.retrieved)], "what is the note", Budget(ratio=ratio))
    assert odd in among.texts[0]
    assert len(among.texts[0]) < len(odd) + len(prose)
