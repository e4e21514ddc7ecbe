"""Images, speech and recordings, by OpenAI's own client: metered by kind of token, priced, held, posted."""

import io
import wave
from collections.abc import Callable

import openai
import pytest

from bench.harness import LocalBursar
from bursar.core.records import Protocol
from bursar.prices import load
from tests.gateway.conftest import NewKey, Row

PAINTER, SPEAKER, OLD_SPEAKER, LISTENER, OLD_LISTENER = (
    "gpt-image-2",
    "gpt-4o-mini-tts",
    "tts-1",
    "gpt-4o-transcribe",
    "whisper-1",
)
IMAGE = ("dot.png", b"\x89PNG\r\n\x1a\n not all of it", "image/png")


def recording(seconds: int) -> tuple[str, bytes]:
    held = io.BytesIO()
    with wave.open(held, "wb") as sound:
        sound.setparams((1, 2, 8_000, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(16_000 * seconds))
    return "said.wav", held.getvalue()


def rate_nano(model: str, leaf: str) -> int:
    return load().find("openai", model).at(0).rates[leaf].base_nano


def test_images_are_charged_by_tokens_of_text_and_of_image(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    answer = openai_client.images.with_raw_response.generate(
        model=PAINTER, prompt="a barn", n=2, quality="low", size="1024x1024"
    )
    images = answer.parse()
    assert len(images.data) == 2
    assert (images.usage.input_tokens, images.usage.output_tokens_details.image_tokens) == (2, 544)
    row = call_of(answer.headers["x-bursar-call-id"])
    nano = 2 * rate_nano(PAINTER, "input_tokens") + 544 * rate_nano(PAINTER, "output_image_tokens")
    assert row["cost_nano"] == nano // 1_000_000
    assert row["protocol"] == Protocol.openai_images


def test_an_image_is_held_for_by_its_pixels_and_quality(shared_bursar: LocalBursar, new_key: NewKey) -> None:
    base = f"{shared_bursar.url}/v1"
    with openai.OpenAI(base_url=base, api_key=new_key("0.10"), max_retries=0) as client:
        for refused in ({"quality": "high"}, {"size": "3840x2160", "quality": "low"}, {}):
            with pytest.raises(openai.APIStatusError, match="may cost up to"):
                client.images.generate(model=PAINTER, prompt="a barn", **({"size": "1024x1024"} | refused))
        client.images.generate(model=PAINTER, prompt="a barn", size="1024x1024", quality="medium")


def test_a_stream_of_partial_images_is_charged_by_its_last_event(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    raw = openai_client.images.with_raw_response.generate(
        model=PAINTER, prompt="a barn", stream=True, partial_images=2, size="1024x1024"
    )
    with raw.parse() as stream:
        kinds = [event.type.rpartition(".")[2] for event in stream]
    assert kinds == ["partial_image", "partial_image", "completed"]
    row = call_of(raw.headers["x-bursar-call-id"])
    nano = 2 * rate_nano(PAINTER, "input_tokens") + 272 * rate_nano(PAINTER, "output_image_tokens")
    assert row["cost_nano"] == nano // 1_000_000


def test_images_are_edited_by_a_form(openai_client: openai.OpenAI, call_of: Callable[[str], Row]) -> None:
    answer = openai_client.images.with_raw_response.edit(
        model=PAINTER, image=[IMAGE, IMAGE], mask=IMAGE, prompt="redder", quality="low"
    )
    assert answer.parse().usage.input_tokens_details.image_tokens == 3 * 765
    row = call_of(answer.headers["x-bursar-call-id"])
    assert row["protocol"] == Protocol.openai_image_edits


def test_speech_by_characters_is_charged_by_its_text(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    answer = openai_client.audio.speech.with_raw_response.create(
        model=OLD_SPEAKER, voice="alloy", input="Hello, world", response_format="wav"
    )
    assert answer.content[:4] == b"RIFF"
    assert answer.headers["content-type"] == "audio/wav"
    row = call_of(answer.headers["x-bursar-call-id"])
    assert row["cost_nano"] == 12 * rate_nano(OLD_SPEAKER, "input_characters") // 1_000_000


def test_bare_sound_of_a_model_billed_by_tokens_is_charged_by_what_its_events_say(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    said = "Hello, world"
    with openai_client.audio.speech.with_streaming_response.create(
        model=SPEAKER, voice="alloy", input=said, response_format="wav"
    ) as answer:
        sound = answer.read()
        name = answer.headers["x-bursar-call-id"]
        assert answer.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(sound)) as spoken:
        assert spoken.getnframes() == 800 * len(said)
    row = call_of(name)
    nano = 3 * rate_nano(SPEAKER, "input_tokens") + 2 * len(said) * rate_nano(SPEAKER, "output_tokens")
    assert row["cost_nano"] == nano // 1_000_000


def test_a_client_that_asks_for_events_gets_them(openai_client: openai.OpenAI) -> None:
    with openai_client.audio.speech.with_streaming_response.create(
        model=SPEAKER, voice="alloy", input="Hello", stream_format="sse"
    ) as answer:
        events = answer.read()
    assert events.count(b"speech.audio.delta") >= 1
    assert b'"usage"' in events


def test_sound_that_ends_early_is_no_whole_answer(openai_client: openai.OpenAI) -> None:
    with (
        openai_client.audio.speech.with_streaming_response.create(
            model=SPEAKER, voice="alloy", input="[[fault=cut after=1]] and so on"
        ) as answer,
        pytest.raises(Exception, match=r"peer closed connection|incomplete"),
    ):
        answer.read()


@pytest.mark.parametrize("model", [LISTENER, OLD_LISTENER])
def test_recordings_are_charged_by_their_length_or_by_what_was_heard(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row], model: str
) -> None:
    answer = openai_client.audio.transcriptions.with_raw_response.create(model=model, file=recording(3))
    made = answer.parse()
    row = call_of(answer.headers["x-bursar-call-id"])
    if model == LISTENER:
        heard = 51 * rate_nano(model, "input_audio_tokens") + made.usage.output_tokens * rate_nano(
            model, "output_tokens"
        )
        assert row["cost_nano"] == heard // 1_000_000
    else:
        assert row["cost_nano"] == 3 * rate_nano(model, "input_audio_seconds") // 3_600 // 1_000_000


def test_a_wav_is_charged_by_its_own_length_where_its_text_says_nothing(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    answer = openai_client.audio.transcriptions.with_raw_response.create(
        model=OLD_LISTENER, file=recording(7), response_format="text"
    )
    row = call_of(answer.headers["x-bursar-call-id"])
    assert row["cost_nano"] == 7 * rate_nano(OLD_LISTENER, "input_audio_seconds") // 3_600 // 1_000_000


def test_text_of_a_recording_whose_length_nobody_knows_is_refused(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="does not say how long the recording is"):
        openai_client.audio.transcriptions.create(
            model=OLD_LISTENER, file=("said.mp3", b"no wav"), response_format="srt"
        )


def test_a_translation_is_a_call_like_any_other(openai_client: openai.OpenAI, call_of: Callable[[str], Row]) -> None:
    with pytest.deprecated_call():
        answer = openai_client.audio.translations.with_raw_response.create(model=OLD_LISTENER, file=recording(2))
    assert call_of(answer.headers["x-bursar-call-id"])["protocol"] == Protocol.openai_translations


def test_an_image_whose_usage_is_not_told_is_charged_what_was_held(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    answer = openai_client.images.with_raw_response.generate(
        model=PAINTER, prompt="[[fault=silent]]", size="1024x1024", quality="low"
    )
    row = call_of(answer.headers["x-bursar-call-id"])
    assert row["cost_nano"] == row["held_nano"] > 0


def test_forms_that_cannot_be_read_are_refused(openai_client: openai.OpenAI) -> None:
    for content in (b"no form at all", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'):
        with pytest.raises(openai.BadRequestError, match=r"multipart|cannot be read"):
            openai_client.post(
                "/audio/transcriptions", cast_to=object, content=content, options={"headers": {"content-type": "x/y"}}
            )


def test_a_form_sent_again_under_its_idempotency_key_is_made_once(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    answers = [  # the client divides each form by another boundary
        openai_client.audio.transcriptions.with_raw_response.create(
            model=OLD_LISTENER, file=recording(2), extra_headers={"idempotency-key": "heard once"}
        )
        for _ in range(2)
    ]
    assert answers[1].headers["x-bursar-replayed"] == "true"
    assert answers[0].headers["x-bursar-call-id"] == answers[1].headers["x-bursar-call-id"]
