"""What a protocol has a place for comes back as it went in, and a stream says what the whole answer says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.core.records import Protocol
from bursar.wires.neutral import Ended, Sending, Telling
from bursar.wires.sse import EventSplitter
from bursar.wires.translate import FORMS, StreamTranslator, translate_answer
from tests.wires.forming import CHAT, GEMINI, MESSAGES, PROTOCOLS, answers, collected, events_of, merged, requests

MODELS = {CHAT: "gpt-5", MESSAGES: "claude-opus-4-8", GEMINI: "gemini-3-pro"}
TELLING = Telling(call_name="call_1")
PAIRS = [(source, target) for source in PROTOCOLS for target in PROTOCOLS]


def sending(protocol: Protocol) -> Sending:
    return Sending(MODELS.get(protocol, "gpt-5"), 50_000)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_request_is_read_as_it_was_written(protocol: Protocol, data: st.DataObject) -> None:
    request, form = data.draw(requests(protocol)), FORMS[protocol]
    assert form.read_request(form.write_request(request, sending(protocol))) == request


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_an_answer_is_read_as_it_was_written(protocol: Protocol, data: st.DataObject) -> None:
    answer, form = data.draw(answers(protocol)), FORMS[protocol]
    assert form.read_answer(form.write_answer(answer, TELLING)) == answer


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_a_stream_says_what_the_whole_answer_says(source: Protocol, target: Protocol, data: st.DataObject) -> None:
    answer = data.draw(answers(source))
    whole = translate_answer(FORMS[source].write_answer(answer, TELLING), source, target, TELLING)
    writer, translator = FORMS[source].chunks(TELLING), StreamTranslator(source, target, TELLING)
    sent = b"".join(writer.write(event) for event in events_of(answer, data.draw(st.integers(1, 9))))
    told = b"".join(translator.feed(event) for event in EventSplitter().feed(sent)) + translator.end()
    assert translator.ended
    reader = FORMS[target].events()
    events = [event for each in EventSplitter().feed(told) for event in reader.read(each)]
    events += [] if Ended() in events else reader.end()
    by_kind = CHAT in (source, target)
    assert merged(collected(events), by_kind=by_kind) == merged(FORMS[target].read_answer(whole), by_kind=by_kind)
