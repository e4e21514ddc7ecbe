"""What is made to stop, mislead or crash the stage without loss takes no long time, and comes back as it was."""

import json
import time
from collections.abc import Callable
from typing import Final

import pytest

from bursar.savings.compress.columns import Row, plan
from bursar.savings.compress.lossless import lossless
from bursar.savings.compress.restoring import Means, restore
from bursar.wires.parts import Kind, Part
from tests.savings.test_compress_lossless import BLOB, FILE, PARAGRAPH, done, size

LENGTH: Final = 100_000
SECONDS_MAX: Final = 5  # what takes the square of the time takes minutes; what does not, less than a second

HOSTILE: Final = {
    "blanks that end no line": "hello" + " " * LENGTH + "x",
    "tabs and blanks that end no line": "hello" + " \t" * (LENGTH // 2) + "x",
    "blank lines at the end": "hello there" + "\n" * LENGTH,
    "blank lines with blanks": "a" + ("\n" * 5 + " " * 5) * (LENGTH // 10),
    "fences never closed": "```x\n" * (LENGTH // 5),
    "fences of two kinds": "~~~x\n```\n" * (LENGTH // 9),
    "invisible characters behind JSON": '[{"a":1,"b":[1,2,3,4,5,6,7]}]' + "\u200b" * LENGTH + "x",
    "invisible characters before blanks": "\u200b" * LENGTH + " \n",
    "tables that say too many rows": "  [99999 rows] a\n" * (LENGTH // 17),
    "tables within tables": "[1 rows] " + "a{" * (LENGTH // 2),
    "JSON that breaks off": '{"a": "b\n' * (LENGTH // 10),
    "JSON behind JSON in one line": "x: [1: " * (LENGTH // 7),
    "the same key twice": '{"a":1,"a":2}\n' * (LENGTH // 14),
    "JSON above no tables": "x: [1: " * (LENGTH // 7) + "\n[table 1: 1 rows] a\n1",
    "quotes above no tables": '["\\"' + '\\"' * (LENGTH // 2) + "\n[table 1: 1 rows] a\n1",
    "many small values": '{"a": 1, "b": [1, 2, 3, 4, 5, 6]}\nand\n' * (LENGTH // 38),
}


def quick(texts: list[str]) -> None:
    began = time.process_time()
    lossless([Part(text, Kind.retrieved) for text in texts], len)
    assert time.process_time() - began < SECONDS_MAX


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_takes_the_square_of_its_length(text: str) -> None:
    quick([text])


def test_many_keys_take_no_long_time() -> None:
    row: Row = {f"key{number}": "" for number in range(30_000)}
    began = time.process_time()
    assert plan([row, row, {}]) is not None
    assert time.process_time() - began < SECONDS_MAX


def test_many_paragraphs_said_twice_take_no_long_time() -> None:
    paragraphs = "\n\n".join(f"{number} {PARAGRAPH[:210]}" for number in range(3_000))
    quick([paragraphs, f"x\n\n{paragraphs}"])


@pytest.mark.parametrize(
    "text",
    [
        '[{"a":1,"a":2}, ' + "1" * 5_000 + "]",
        '{"a": NaN, "b": ' + "1" * 5_000 + "}",
        "[1 rows] " + "a{" * 5_000,
        "[1 rows] " + "a[" * 5_000,
    ],
)
def test_what_is_nearly_json_or_a_table_is_left_alone(text: str) -> None:
    assert done(text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "name\tsize\towner\nreadme\t120\t\nnotes\t\t\n",
        "name\tsize\n\t\n\t\nnotes\t1\n",
        "\t\t\nname\tsize\t\n",
        "a\t\u200b\t\nb\t1\t\n",
    ],
)
def test_empty_cells_at_the_end_of_a_row_stay(text: str) -> None:
    assert done(text)[0].replace("\u200b", "") == text.replace("\u200b", "")


def test_blanks_in_a_line_of_their_own_go_still() -> None:
    assert done("one\n \t \n  \t\n\ntwo") == ["one\n\ntwo"]


ROWS: Final = [{"id": number, "name": f"name {number}"} for number in range(5)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"a": 1, "b": ROWS, "k": "\ufeff"}),
        json.dumps({"a": 1, "b": ROWS, "k": "\ufeff"}, ensure_ascii=False),
        json.dumps([{"a": 1, "b": ROWS, "k": "\u200b"}], ensure_ascii=False),
        json.dumps([{"k": "see \u200b", "n": number} for number in range(9)], ensure_ascii=False),
        json.dumps({"note": "see: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "b": ROWS}),
        '[{"1":"\u200b"}]',
    ],
)
def test_what_a_value_says_outlives_a_second_time(text: str) -> None:
    once = lossless([Part(text, Kind.retrieved)], size)
    twice = lossless([Part(once.texts[0], Kind.retrieved)], size)
    assert twice.texts == once.texts
    assert json.loads(restore(once)[0]) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        'Found: {"a": 1, "b": [1, 2, 3, 4]} and more\n' + FILE,
        "A note: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] and " + PARAGRAPH,
    ],
)
def test_a_reference_stays_as_it_is_the_second_time(text: str) -> None:
    parts = [Part(text, Kind.history), Part(text, Kind.retrieved), Part(f"Again:\n\n{text}", Kind.retrieved)]
    once = lossless(parts, size)
    assert once.texts[1].startswith("[the same text as above")
    assert lossless([Part(each, part.kind) for each, part in zip(once.texts, parts, strict=True)], size).texts == (
        once.texts
    )


def test_what_a_paragraph_quotes_ends_before_json() -> None:
    paragraph = "The answer of the tool was this [cut]: " + PARAGRAPH.strip()
    found = done("First.\n\n" + paragraph, "Then.\n\n" + paragraph + "\n\nEnd.")
    assert found[1].startswith(
        'Then.\n\n[the same paragraph as above, which begins "The answer of the tool was this"]\n\nEnd.'
    )


def test_a_name_that_a_text_mentions_is_given_to_nothing_else() -> None:
    mention = "[base64 data, 600 bytes: ask for base64-1]"
    parts = [Part(f"see {mention}", Kind.history), Part(f"see {BLOB} here", Kind.retrieved)]
    found = lossless(parts, size)
    assert found.texts == (parts[0].text, "see [base64 data, 600 bytes: ask for base64-2] here")
    assert [handle.name for handle in found.handles] == ["base64-2"]
    assert restore(found) == tuple(part.text for part in parts)


def test_what_only_looks_like_a_reference_comes_back_as_it_was() -> None:
    forged = '[the same text as above, which begins "value_0 = 0  # what 0 stands for"]'
    found = lossless([Part(FILE, Kind.retrieved), Part(forged, Kind.retrieved), Part(FILE, Kind.retrieved)], size)
    assert restore(found) == (FILE, forged, FILE)
    assert [each.part for each in found.removals if each.why == Means.repeat] == [2]


def _beginnings(number: int) -> str:
    return f"{'The same beginning for all of them, and then ' * 3}{number} {PARAGRAPH}"


@pytest.mark.parametrize("write", [_beginnings, lambda number: f"{number}: {PARAGRAPH}"])
def test_paragraphs_that_begin_alike_come_back(write: Callable[[int], str]) -> None:
    text = "\n\n".join(write(number).strip() for number in range(50))
    found = lossless([Part(text, Kind.history), Part(f"x\n\n{text}\n\ny", Kind.history)], size)
    assert restore(found) == (text, f"x\n\n{text}\n\ny")
