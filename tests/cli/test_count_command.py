"""Texts, images and sounds are counted from the command line, exactly or with the error told."""

import asyncio
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from bench.harness import LocalBursar
from bursar.store.database import connect
from bursar.store.token_samples import NewSample, add_samples
from bursar.tokens.calibrate import Sample
from bursar.tokens.features import Reader
from bursar.tokens.pieces import load
from tests.cli.outcome import Cli

WORDS = "It was opened in 1894 by the Prince of Wales.\n"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "bridge.txt"
    file.write_text(WORDS)
    return file


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = io.BytesIO()
    Image.new("RGB", (1024, 1024)).save(file, "PNG")
    path = tmp_path / "picture.png"
    path.write_bytes(file.getvalue())
    return path


def test_openais_tokens_are_exact_and_priced(bare_cli: Cli, text: Path) -> None:
    found = bare_cli("count", str(text), "--model", "gpt-4o", "--json").json()
    assert (found["tokens"], found["exact"], found["vocabulary"]) == (13, True, "o200k_base")
    assert found["error_pct"] is None
    assert Decimal(found["usd"]) == 13 * Decimal("2.50") / 1_000_000


def test_mistrals_tokens_are_exact(bare_cli: Cli, text: Path) -> None:
    found = bare_cli("count", str(text), "--model", "mistralai/mistral-nemo", "--json").json()
    assert (found["tokens"], found["vocabulary"]) == (15, "tekken")


def test_pieces_are_shown_with_bars_where_there_are_no_colours(bare_cli: Cli, text: Path) -> None:
    outcome = bare_cli("count", str(text), "--model", "gpt-4o", "--show")
    assert outcome.out.startswith("It| was| opened| in| |189|4| by| the| Prince| of| Wales|.\n")
    pieces = bare_cli("count", str(text), "--model", "gpt-4o", "--show", "--json").json()["pieces"]
    assert "".join(pieces) == WORDS
    assert len(pieces) == 13


def test_other_models_are_estimated_and_the_error_is_told(bare_cli: Cli, text: Path) -> None:
    outcome = bare_cli("count", str(text), "--model", "claude-sonnet-4-5")
    assert "estimated, ±28 % in nine of ten (no call of it is in the books yet)" in outcome.out
    assert "anthropic/claude-sonnet-4-5" in outcome.out


def test_an_image_is_counted_by_its_rule_and_priced(bare_cli: Cli, picture: Path) -> None:
    found = bare_cli("count", str(picture), "--model", "gpt-4o", "--json").json()
    assert (found["kind"], found["tokens"]) == ("image", 765)
    assert found["source"].startswith("https://developers.openai.com/")
    assert bare_cli("count", str(picture), "--model", "gpt-4o", "--detail", "low", "--json").json()["tokens"] == 85


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("missing.txt", "--model", "gpt-4o"), 1, "missing.txt cannot be read: No such file"),
        (("{text}", "--model", "claude-sonnet-4-5", "--show"), 1, "its pieces are not known"),
        (("{picture}", "--model", "gpt-4o", "--show"), 1, "only a text has pieces"),
        (("{picture}", "--model", "unknown-9"), 1, "no rule is published"),
        (("{pdf}", "--model", "gpt-4o"), 1, "a PDF"),
        (("{text}",), 2, "model"),
        (("{picture}", "--model", "gpt-4o", "--detail", "huge"), 2, "detail"),
    ],
)
def test_what_cannot_be_counted_is_said_in_one_line(
    bare_cli: Cli, text: Path, picture: Path, arguments: tuple[str, ...], code: int, why: str
) -> None:
    (text.parent / "a.pdf").write_bytes(b"%PDF-1.7")
    places = {"text": str(text), "picture": str(picture), "pdf": str(text.parent / "a.pdf")}
    outcome = bare_cli("count", *(each.format(**places) for each in arguments))
    assert (outcome.code, outcome.out) == (code, "")
    assert why in outcome.err
    assert outcome.err.count("\n") == 1


def test_calls_in_the_books_make_the_estimate_surer(cli: Cli, shared_bursar: LocalBursar, text: Path) -> None:
    reader = Reader(load())
    calls = [reader.call([WORDS * (3 + number % 17)]) for number in range(60)]
    new = [NewSample("somewhere", "other-words", Sample(each, 2 * sum(each[2:]) + 9)) for each in calls]

    async def write() -> None:
        connection = await connect(shared_bursar.database_url)
        await add_samples(connection, new, 1)
        await connection.close()

    asyncio.run(write())
    for model in ("other-words", "somewhere/other-words"):
        found = cli("count", str(text), "--model", model, "--json").json()
        assert found["calls"] == 60
        assert found["error_pct"] < 5
    assert json.loads(cli("count", str(text), "--model", "elsewhere/other-words", "--json").out)["calls"] == 0
