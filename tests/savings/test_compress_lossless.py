"""What is made shorter without loss comes back, reads the same, and is never longer."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.savings.compress.lossless import ALL, lossless
from bursar.savings.compress.prompt import Compressed, Handle, Removal
from bursar.savings.compress.restoring import Means, restore
from bursar.wires.parts import Kind, Part
from tests.savings.shapes import TRICKY, VALUES

PARAGRAPH = (
    "The pump was taken apart on Monday and its seal replaced, after which it ran for nine hours without a leak. " * 3
)
BLOB = base64.b64encode(random.Random(6).randbytes(600)).decode()
ROWS = [{"id": number, "name": f"name {number}", "tags": ["a", "b"]} for number in range(8)]


def size(text: str) -> int:
    return len(text.encode())


def words(text: str) -> int:
    """Count as a coarse tokenizer does, which does not add up over pieces."""
    return len(text.split()) + len(text) // 5


COUNTS = st.sampled_from([size, words, lambda text: len(text) // 4])
TEXTS = st.lists(
    st.sampled_from(
        [
            *TRICKY,
            *(
                "\n",
                "\n\n",
                "\n \n\n",
                " ",
                "  ",
                "   \n",
                "\t",
                "```",
                "```json\n",
                "```\n",
                "Result: ",
                "def f():\n",
                "\u200b",
            ),
            *(PARAGRAPH, PARAGRAPH.strip(), BLOB, f"data:image/png;base64,{BLOB}", "{", "[", "[1,", '{"a": ', "}\n{"),
            "A line of flowing prose with  more than one blank between its words and no structure.\n",
        ]
    )
    | VALUES.map(json.dumps)
    | VALUES.map(lambda value: json.dumps(value, indent=2))
    | st.text(max_size=12),
    max_size=8,
).map("".join)
PARTS = st.lists(
    st.builds(
        Part,
        TEXTS,
        st.sampled_from(Kind),
        protected=st.sampled_from([False, False, False, True]),
        for_program=st.sampled_from([False, False, True]),
    ),
    max_size=4,
)


def again(parts: list[Part], compressed: Compressed) -> list[Part]:
    return [msgspec.structs.replace(part, text=text) for part, text in zip(parts, compressed.texts, strict=True)]


def replayed(parts: list[Part], removals: tuple[Removal, ...]) -> tuple[str, ...]:
    texts = [part.text for part in parts]
    for each in reversed(removals):
        text = texts[each.part]
        texts[each.part] = text[: each.start] + each.text + text[each.end :]
    return tuple(texts)


@given(PARTS, COUNTS)
def test_the_laws_of_every_prompt(parts: list[Part], count: Callable[[str], int]) -> None:
    found = lossless(parts, count)
    assert found == lossless(parts, count)
    assert found.texts == replayed(parts, found.removals)
    assert len(found.texts) == len(parts)
    for part, text in zip(parts, found.texts, strict=True):
        assert count(text) <= count(part.text)
        assert not part.protected or text == part.text
    assert found.tokens_before == sum(count(part.text) for part in parts)
    assert found.tokens_after == sum(map(count, found.texts))
    restored = restore(found)
    assert [blanks_aside(text) for text in restored] == [blanks_aside(part.text) for part in parts]


@given(PARTS)
def test_a_prompt_that_grows_keeps_its_beginning(parts: list[Part]) -> None:
    texts = lossless(parts, size).texts
    for length in range(len(parts)):
        assert lossless(parts[:length], size).texts == texts[:length]


@given(PARTS)
def test_doing_it_again_changes_nothing(parts: list[Part]) -> None:
    found = lossless(parts, size)
    assert lossless(again(parts, found), size).texts == found.texts


@pytest.mark.parametrize(
    "text",
    [
        "\n \n\n0",
        '\u200b[{"a": 1, "b": null, "key": null}, {"a": 2, "b": null, "key": null}]\ufeff\n',
        "\ufeff```\na   \n\n\n\nb\n```",
        "one\u200b  \ntwo",
    ],
)
def test_what_was_found_to_change_twice_does_not(text: str) -> None:
    once = done(text)
    assert done(*once) == once


def blanks_aside(text: str) -> str:
    """Leave out what may change: white space and invisible characters, and escapes that stand for themselves."""
    for escaped in {text[at : at + 6] for at in range(len(text)) if text.startswith("\\u", at)}:
        text = text.replace(escaped, "")
    return "".join(each for each in text if each.isascii() and each.isprintable() and each not in " \\")


@given(VALUES, st.sampled_from([None, 1, 4]), st.sampled_from(["", "Result: ", "# Found\n\n"]))
def test_json_comes_back_key_by_key(value: Any, indent: int | None, before: str) -> None:
    part = Part(before + json.dumps(value, indent=indent), Kind.retrieved)
    (text,) = restore(lossless([part], size))
    compared = [json.dumps(json.loads(each.removeprefix(before))) for each in (part.text, text)]
    assert compared[0] == compared[1]


@given(VALUES, st.sampled_from([Kind.tools, Kind.history]))
def test_what_a_program_reads_stays_json(value: Any, kind: Kind) -> None:
    part = Part(json.dumps(value, indent=2), kind, for_program=kind is not Kind.tools)
    (text,) = lossless([part], size).texts
    assert json.dumps(json.loads(text)) == json.dumps(value)


def done(*texts: str, kind: Kind = Kind.retrieved) -> list[str]:
    return list(lossless([Part(text, kind) for text in texts], size).texts)


def test_only_what_tools_and_documents_say_becomes_a_table() -> None:
    text = json.dumps(ROWS, indent=2)
    assert done(text)[0].startswith("[8 rows] id,name")
    for kind in (Kind.system, Kind.history, Kind.user):
        assert done(text, kind=kind) == [json.dumps(ROWS, separators=(",", ":"))]


def test_json_marked_as_such_stays_json() -> None:
    (text,) = done(f"Answer so:\n```json\n{json.dumps(ROWS, indent=2)}\n```\nNothing else.")
    assert text == f"Answer so:\n```json\n{json.dumps(ROWS, separators=(',', ':'))}\n```\nNothing else."


def test_lines_of_json_become_one_table() -> None:
    text = "\n".join(json.dumps(row) for row in ROWS)
    found = lossless([Part(f"log:\n{text}\nend", Kind.retrieved)], size)
    assert found.texts[0].startswith('log:\n[8 lines] id,name="name "*,tags=')
    assert found.texts[0].endswith("\nend")
    assert [each.why for each in found.removals] == [Means.lines]
    assert restore(found) == (f"log:\n{text.replace(': ', ':').replace(', ', ',')}\nend",)


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    y = [\n        1,   2,   3,   44444,   5555555\n    ]   \n\n\n\n    return y",
        'x = foo(\n    {"a": 1,   "b": 2, "c": 444444444},\n)\n\n\n\nimport os\n',
        "```\na  b   \n\n\n\nc   \n```",
        "~~~\nnever closed   \n\n\n\n",
        "all:   \n\tcc -o a a.c   \n\n\n\n\ttouch b\n",
        "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n \n-a   \n+b\n",
        "text: |\n  one   \n\n\n\n  two\n",
        "     1\tone   \n     2\t\n\n\n",
        "A line of Markdown  \nwith a break",
        "a = 1\n\n\n\nb: int = 2\n",
        "KEY=value\n\n\n\n[part]\n",
        "name            size   owner\nreadme.md        120   ann\n",
        "pi\u200b in Thai: \u0e01\u200b\u0e02",
        "family: 👨\u200d👩\u200d👧",
    ],
)
def test_white_space_that_may_mean_something_stays(text: str) -> None:
    assert done(text)[0].replace("pi\u200b", "pi") == text.replace("pi\u200b", "pi")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one.\n\n\n\n\ntwo", "one.\n\ntwo"),
        ("one.   \ntwo \n", "one.\ntwo\n"),
        ("one\n \t \ntwo", "one\n\ntwo"),
        ("so\u00adme\u200b \ufefftext", "some text"),
        (
            "In this  line of prose  there are more blanks than it takes.",
            "In this line of prose there are more blanks than it takes.",
        ),
        ("    an indent   \n      deeper", "    an indent\n      deeper"),
    ],
)
def test_white_space_that_says_nothing_goes(text: str, expected: str) -> None:
    assert done(text) == [expected]


def test_a_result_that_was_there_before_becomes_a_reference() -> None:
    text = (
        "\n".join(f"{number} ok: the check of file {number}.py found nothing" for number in range(30))
        + "\n\n"
        + PARAGRAPH
    )
    parts = [
        Part(text, Kind.retrieved, call_id="a"),
        Part("go on", Kind.history),
        Part(text, Kind.retrieved, call_id="b"),
    ]
    found = lossless(parts, size)
    assert found.texts[2] == '[the same text as above, which begins "0 ok: the check of file 0.py found nothing"]'
    assert restore(found) == (text, "go on", text)


def test_a_paragraph_that_was_there_before_becomes_a_reference() -> None:
    found = lossless([Part(PARAGRAPH, Kind.system), Part(f"Again:\n\n{PARAGRAPH}\n\nSo.", Kind.history)], size)
    assert found.texts[1].startswith('Again:\n\n[the same paragraph as above, which begins "The pump')
    assert PARAGRAPH.strip() in restore(found)[1]


def test_no_reference_is_made_to_what_could_be_taken_for_another() -> None:
    other = PARAGRAPH + "But then it failed."
    assert done(other, PARAGRAPH, PARAGRAPH)[2] == PARAGRAPH


@pytest.mark.parametrize("kind", [Kind.system, Kind.user, Kind.tools])
def test_instructions_and_questions_are_never_references(kind: Kind) -> None:
    found = lossless([Part(PARAGRAPH, Kind.history), Part(PARAGRAPH, kind)], size)
    assert found.texts[1].strip() == PARAGRAPH.strip()


def test_base64_is_kept_out_once_and_can_be_asked_for() -> None:
    picture = f"data:image/png;base64,{BLOB}"
    found = lossless(
        [Part(f"see {picture} here", Kind.history), Part(json.dumps({"at": picture, "n": 1}), Kind.retrieved)], size
    )
    mention = "[base64 image/png, 600 bytes: ask for base64-1]"
    assert found.texts == (f"see {mention} here", f'{{"at":"{mention}","n":1}}')
    assert found.handles == (Handle("base64-1", 0, picture),)
    assert restore(found) == (f"see {picture} here", f'{{"at":"{picture}","n":1}}')


@pytest.mark.parametrize(
    "text",
    [
        "a" * 400,
        "ACGT" * 100,
        bytes(range(200)).hex(),
        f"eyJ{BLOB}",
        BLOB[:200],
        f"{BLOB[:300]}.{BLOB[:300]}",
    ],
)
def test_what_only_looks_like_base64_stays(text: str) -> None:
    assert done(text) == [text]


def test_a_means_that_is_not_allowed_is_not_used() -> None:
    parts = [Part(json.dumps(ROWS, indent=2) + f"\n\n\n\n{BLOB}", Kind.retrieved)] * 2
    for means in Means:
        found = lossless(parts, size, ALL - {means})
        assert means not in {each.why for each in found.removals}
    assert lossless(parts, size, frozenset()).texts == (parts[0].text,) * 2


def test_a_text_that_cannot_be_sent_is_left_alone() -> None:
    text = '{ "a":   "\ud83d", "b": [1,   2,   3,   4,   5] }'
    assert lossless([Part(text, Kind.retrieved)], len).texts == (text,)


def test_a_million_brackets_take_no_long_time() -> None:
    counted = done("[\n" * 20_000 + '{"a":\n' * 20_000)
    assert len(counted[0]) > 100_000


FILE = "".join(f"value_{number} = {number * 37 % 101}  # what {number} stands for\n" for number in range(80))
EDITS = {
    "a line changed": (FILE.replace("value_40 = ", "other = "), "but with this in place of lines 41 to 41:]\nother = "),
    "a line more": (FILE.replace("value_40 = ", "more = 1\nvalue_40 = "), "but with this after line 40:]\nmore = 1"),
    "lines fewer": (FILE[: FILE.index("value_70")], "but without lines 71 to 80]"),
    "lines behind": (FILE + "last = 1\n", "but with this after line 80:]\nlast = 1"),
    "far apart": (
        FILE.replace("value_40 = ", "a = ").replace("value_42 = ", "b = "),
        "but with this in place of lines 41 to 43:]\na = ",
    ),
}


@pytest.mark.parametrize(("text", "expected"), EDITS.values(), ids=EDITS.keys())
def test_a_file_that_is_read_again_says_what_changed(text: str, expected: str) -> None:
    found = lossless([Part(FILE, Kind.retrieved), Part(text, Kind.retrieved), Part(text, Kind.retrieved)], size)
    assert found.texts[1].startswith(
        '[the same text as above, which begins "value_0 = 0  # what 0 stands for", ' + expected
    )
    assert found.texts[2] == found.texts[1]
    assert restore(found) == (FILE, text, text)
    assert {each.why for each in found.removals} == {Means.repeat}


@pytest.mark.parametrize("text", [FILE[: len(FILE) // 3] * 2, FILE[::-1], FILE[:900]])
def test_a_file_that_is_another_is_sent_whole(text: str) -> None:
    assert done(FILE, text)[1] == text


@given(
    st.lists(st.sampled_from([*FILE.splitlines()[:12], "", "x"]), max_size=60), st.integers(0, 80), st.integers(0, 80)
)
def test_what_changed_comes_back(lines: list[str], start: int, end: int) -> None:
    old = FILE.split("\n")
    text = "\n".join([*old[:start], *lines, *old[end:]])
    assert restore(lossless([Part(FILE, Kind.retrieved), Part(text, Kind.retrieved)], size))[1] == text
