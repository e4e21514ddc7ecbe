"""The API counts texts, images and sounds for several models, says what it cannot, and keeps nothing."""

import base64
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from PIL import Image

from bench.harness import LocalBursar
from bursar.api.count import MODELS
from bursar.prices import load
from tests.asking import Answer, fetch

CANARY = "perpetual-canary-4711"


def count(local: LocalBursar, **fields: Any) -> Answer:
    return fetch(local, "POST", "/api/count", json.dumps(fields).encode(), content_type="application/json")


def test_a_text_is_counted_for_models_people_use_with_its_pieces(shared_bursar: LocalBursar) -> None:
    answer = count(shared_bursar, text="It was opened in 1894.")
    found = answer.json()
    assert (answer.status, found["kind"]) == (200, "text")
    assert found["pieces"]["pieces"] == ["It", " was", " opened", " in", " ", "189", "4", "."]
    assert [each["model"] for each in found["models"]] == list(MODELS)
    by_model = {each["model"]: each for each in found["models"]}
    assert (by_model["openai/gpt-4o"]["tokens"], by_model["openai/gpt-4o"]["exact"]) == (8, True)
    assert by_model["anthropic/claude-opus-5-5"]["error_pct"] is not None
    assert all(Decimal(each["usd"]) > 0 for each in found["models"])


def test_every_model_that_is_told_of_has_a_price() -> None:
    book = load()
    assert [f"{price.provider}/{price.model}" for model in MODELS if (price := book.find_any(model))] == list(MODELS)


def test_an_image_is_counted_by_its_size_or_its_bytes(shared_bursar: LocalBursar) -> None:
    models = ["gpt-4o", "claude-opus-5-5", "gpt-3.5-turbo"]
    found = count(shared_bursar, width_px=1024, height_px=1024, models=models).json()
    assert [each["tokens"] for each in found["models"]] == [765, 1_369, None]
    assert "no rule is published" in found["models"][2]["why"]
    file = io.BytesIO()
    Image.new("P", (1024, 1024)).save(file, "GIF")
    gif = base64.b64encode(file.getvalue()).decode()
    low = count(shared_bursar, file=gif, models=["gpt-4o"], detail="low").json()
    assert (low["width_px"], low["height_px"], low["models"][0]["tokens"]) == (1024, 1024, 85)
    assert low["pieces"] is None


def test_sound_is_counted_by_its_length(shared_bursar: LocalBursar) -> None:
    (found,) = count(shared_bursar, milliseconds=60_000, models=["gemini-2.5-flash"]).json()["models"]
    assert found["tokens"] == 1_920


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("gpt-audio", "0.0192"),  # 600 tokens at $32 a million
        ("gemini-2.5-flash", "0.00192"),  # 1,920 at $1, which is sound's
        ("google/gemini-2.5-pro", "0.0024"),  # at $1.25: Google's price of input is for sound as well
        ("gpt-4o-audio-preview", None),  # the book has a rate of text alone
        ("voxtral-small-2507", None),
    ],
)
def test_sound_is_priced_at_a_rate_of_sound_or_not_at_all(
    shared_bursar: LocalBursar, model: str, usd: str | None
) -> None:
    (found,) = count(shared_bursar, milliseconds=60_000, models=[model]).json()["models"]
    assert found["tokens"] > 0
    if usd is None:
        assert found["usd"] is None
        assert found["why"].endswith("has no rate for input_audio_tokens")
    else:
        assert (Decimal(found["usd"]), found["why"]) == (Decimal(usd), "")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "expected one of text"),
        ({"text": "a", "milliseconds": 5}, "expected one of text"),
        ({"file": "not base64"}, "file: expected the bytes"),
        ({"file": base64.b64encode(b"%PDF-1.7").decode()}, "file: a PDF"),
        ({"text": "a", "detail": "huge"}, ""),
        ({"text": "a", "models": ["m"] * 33}, ""),
        ({"text": "a", "models": ["m\0"]}, ""),
        ({"file": "ª"}, "file: expected the bytes"),
        ({"text": 5}, ""),
        ({"words": "a"}, ""),
    ],
)
def test_what_cannot_be_counted_is_refused(shared_bursar: LocalBursar, fields: dict[str, Any], why: str) -> None:
    answer = count(shared_bursar, **fields)
    assert answer.status == 400
    assert why in answer.json()["detail"]


def test_an_impossible_size_is_said_of_each_model(shared_bursar: LocalBursar) -> None:
    (found,) = count(shared_bursar, width_px=10, height_px=-1, models=["gpt-4o"]).json()["models"]
    assert (found["tokens"], found["why"]) == (None, "height: expected 1 to 100,000 pixels, got -1")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/json", "x_forwarded_for": "192.0.2.1"}, 403),
        ({"content_type": "application/json", "origin": "https://elsewhere.example"}, 403),
        ({"content_type": "application/json", "authorization": "Bearer ba_" + "x" * 43}, 401),
    ],
)
def test_only_this_machine_may_ask_and_only_in_json(
    shared_bursar: LocalBursar, headers: dict[str, str], status: int
) -> None:
    assert fetch(shared_bursar, "POST", "/api/count", b'{"text": "a"}', **headers).status == status


def test_nothing_that_is_pasted_is_kept_or_logged(shared_bursar: LocalBursar) -> None:
    assert count(shared_bursar, text=f"{CANARY} " * 3).status == 200
    assert count(shared_bursar, text=CANARY, models=[CANARY, "gpt-4o"]).status == 200
    kept = [
        path
        for path in shared_bursar.data.rglob("*")
        if path.is_file() and not path.is_symlink() and CANARY.encode() in path.read_bytes()
    ]
    assert kept == []
    assert CANARY not in shared_bursar.last_words()
