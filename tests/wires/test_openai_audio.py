import pytest

from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.openai_audio import OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS, audio_usage
from bursar.wires.wire import BadAnswer


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        ({"type": "duration", "seconds": 7.6}, Usage(other={"input_audio_seconds": 8})),
        ({"prompt_audio_seconds": 12, "prompt_tokens": 4}, Usage(other={"input_audio_seconds": 12})),
        (
            {"input_tokens": 20, "output_tokens": 5, "input_token_details": {"audio_tokens": 17}, "rare_tokens": 2},
            Usage(3, output_tokens=5, other={"input_audio_tokens": 17}, unknown={"rare_tokens": 2}),
        ),
    ],
)
def test_what_was_heard_is_told_in_seconds_or_in_tokens(report: dict[str, object], usage: Usage) -> None:
    assert audio_usage(report) == usage


@pytest.mark.parametrize(
    "report",
    [{}, {"total_tokens": 500}, {"type": "duration"}, {"type": "duration", "seconds": True}, {"input_tokens": 1}],
)
def test_usage_that_says_nothing_is_none(report: dict[str, object]) -> None:
    with pytest.raises(UsageContradiction):
        audio_usage(report)


def test_which_model_speaks_decides_how_it_is_asked() -> None:
    body = b'{"model":"mine","input":"hello","voice":"alloy"}'
    facts = OPENAI_SPEECH.facts(body)
    assert b'"stream_format":"sse"' in OPENAI_SPEECH.upstream_body(body, facts, "gpt-4o-mini-tts", 1, "")
    assert b"stream_format" not in OPENAI_SPEECH.upstream_body(body, facts, "tts-1", 1, "")


def test_sound_is_taken_out_of_events_that_can_be_read() -> None:
    body = b'{"model":"gpt-4o-mini-tts","input":"hello","voice":"alloy"}'
    sound = OPENAI_SPEECH.bare(body, OPENAI_SPEECH.facts(body))
    assert sound is not None
    assert sound.feed(b'data: {"type":"speech.audio.delta","audio":"aGk="}\n\n') == b"hi"
    with pytest.raises(BadAnswer):
        sound.feed(b'data: {"audio":"!"}\n\n')


def test_an_answer_that_is_no_json_says_nothing_of_usage() -> None:
    assert OPENAI_TRANSCRIPTIONS.answer(b"and so on\n").usage is None
    with pytest.raises(BadAnswer):
        OPENAI_TRANSCRIPTIONS.answer(b"{and so on")
