"""A call in turns says how long its recordings can last and whether it asks for speech; both must have a price."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from bursar.core.errors import BadRequest
from bursar.core.records import TEXT_METERS
from bursar.wires.gemini import GEMINI
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.openai_responses import OPENAI_RESPONSES
from bursar.wires.wire import Facts, Seen
from tests.wires.recorded import flac, flac_block, wav

VOICE = {"voice": "alloy", "format": "wav"}
SAID = b64encode(wav(1_500)).decode()


def chat(*parts: dict[str, Any], **fields: Any) -> Facts:
    message = {"role": "user", "content": [{"type": "text", "text": "what is it?"}, *parts]}
    return OPENAI_CHAT.facts(msgspec.json.encode({"model": "m", "messages": [message]} | fields))


def heard(data: object) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def gemini(part: dict[str, Any], **config: Any) -> Facts:
    body = {"contents": [{"parts": [part]}], "generationConfig": config}
    return GEMINI.facts(msgspec.json.encode(body), "m:generateContent")


def test_recordings_are_told_by_their_length_in_each_protocol() -> None:
    asked = {"model": "m", "input": [{"role": "user", "content": [heard(SAID)]}]}
    responses = OPENAI_RESPONSES.facts(msgspec.json.encode(asked))
    inline = gemini({"inline_data": {"mime_type": "audio/wav", "data": SAID.translate(str.maketrans("+/", "-_"))}})
    for facts in (chat(heard(SAID)), responses, inline):
        assert facts.media.sounds_ms == (1_500,)
        assert (facts.media.images, facts.media.others) == (0, 0)
        assert facts.traits.media
        assert facts.text_bytes < 250 < len(SAID)
    assert chat(heard(SAID), heard(SAID)).media.sounds_ms == (1_500, 1_500)


def test_what_is_heard_and_spoken_must_have_a_price() -> None:
    text = ("input_tokens", "output_tokens")
    assert chat(heard(SAID)).traits.meters == ((*text, "input_audio_tokens"),)
    assert chat(modalities=["text", "audio"], audio=VOICE).traits.meters == ((*text, "output_audio_tokens"),)
    both = chat(heard(SAID), modalities=["audio"], audio=VOICE)
    assert both.traits.meters == ((*text, "input_audio_tokens", "output_audio_tokens"),)
    spoken_before = [{"role": "assistant", "content": None, "audio": {"id": "audio_1"}}]
    assert chat(messages=spoken_before).traits.meters == ((*text, "input_audio_tokens"),)
    assert gemini({"text": "hello"}, responseModalities=["audio"]).traits.meters == ((*text, "output_audio_tokens"),)
    assert chat().traits.meters == chat(modalities=["text"], audio=None).traits.meters == TEXT_METERS


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"modalities": ["text", "audio"]}, "audio"),
        ({"audio": {"format": "wav"}}, "audio"),
        ({"audio": {"voice": "alloy", "format": "midi"}}, "audio.format"),
        ({"audio": "alloy"}, "audio"),
        ({"messages": [{"role": "user", "content": [heard("not base64!")]}]}, "messages.content.input_audio.data"),
        ({"messages": [{"role": "user", "content": [heard("")]}]}, "messages.content.input_audio.data"),
        ({"messages": [{"role": "user", "content": [heard(5)]}]}, "messages.content.input_audio"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, None),
    ],
)
def test_sound_that_cannot_be_read_is_refused_by_the_name_of_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("again", ["data", "d\\u0061ta", "format"])
def test_a_recording_given_twice_is_refused_by_the_name_of_its_field(again: str) -> None:
    given = f'{{"data": "{SAID}", "format": "wav", "{again}": "{SAID}"}}'
    part = f'{{"type": "input_audio", "input_audio": {given}}}'
    field = again.replace("\\u0061", "a")
    for wire, body in (
        (OPENAI_CHAT, '{"model": "m", "messages": [{"role": "user", "content": [%s]}]}'),
        (OPENAI_RESPONSES, '{"model": "m", "input": [{"role": "user", "content": [%s]}]}'),
    ):
        with pytest.raises(BadRequest, match=f"{field}` is given twice; give it once") as caught:
            wire.facts((body % part).encode())
        assert str(caught.value.param).endswith(f".content.input_audio.{field}")


@pytest.mark.parametrize("again", ["data", "mimeType"])
def test_geminis_sound_given_twice_is_refused_by_the_name_of_its_field(again: str) -> None:
    inline = f'{{"mimeType": "audio/wav", "data": "{SAID}", "{again}": "audio/wav"}}'
    with pytest.raises(BadRequest, match="is given twice; give it once") as caught:
        GEMINI.facts(b'{"contents": [{"parts": [{"inlineData": %b}]}]}' % inline.encode(), "m:generateContent")
    assert caught.value.param == f"contents.parts.inlineData.{again}"


def test_a_recording_holds_nothing_but_plain_values() -> None:
    with pytest.raises(BadRequest, match="got `array`"):
        chat({"type": "input_audio", "input_audio": {"data": SAID, "format": "wav", "more": [{}] * 1_000}})


def test_all_recordings_of_a_call_share_the_looking() -> None:
    block = b64encode(flac(1) + b"".join(flac_block(256) for _ in range(5_000))).decode()
    lengths = chat(*[{"type": "input_audio", "input_audio": {"data": block, "format": "flac"}}] * 8).media.sounds_ms
    assert len(set(lengths[:5])) == 1  # 25,000 blocks are looked at, of all of them together
    assert lengths[0] == -(-5_000 * 256 * 1_000 // 48_000)
    assert min(lengths[5:]) > 100 * lengths[0]  # the rest is taken for the most it can be


def test_a_recording_that_is_called_something_else_is_taken_for_the_most_it_can_be() -> None:
    sound = wav(1_500)
    part = {"type": "input_audio", "input_audio": {"data": b64encode(sound).decode(), "format": "mp3"}}
    assert chat(part).media.sounds_ms == (len(sound) * 40,)
    inline = {"inlineData": {"mimeType": "audio/mp3;x=1", "data": SAID}}
    assert gemini(inline).media.sounds_ms == (len(sound) * 40,)


def test_gemini_refuses_sound_without_its_bytes() -> None:
    with pytest.raises(BadRequest) as caught:
        gemini({"inlineData": {"mimeType": "audio/mp3"}})
    assert caught.value.param == "contents.parts.inlineData.data"


def test_a_stream_counts_the_sound_that_came() -> None:
    reader = OPENAI_CHAT.reader()
    deltas = [{"audio": {"id": "audio_1", "transcript": "Hi "}}, {"audio": {"data": "A" * 6_400}}, {"content": "!"}]
    for delta in deltas:
        chunk = msgspec.json.encode({"choices": [{"index": 0, "delta": delta}]})
        assert reader.see(b"data: %b\n\n" % chunk) is Seen.content
    answer = reader.answer()
    assert (answer.spoken_bytes, answer.output_bytes, answer.usage) == (4_800, 4, None)
