"""Word the simulated provider's answers in each protocol: whole, or piece by piece."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.sandbox.play import Play
from bursar.sandbox.speech import spoken, tokens_a_word
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.sse import event_bytes

_encode = msgspec.json.Encoder().encode
TOOL_ARGUMENTS: Final = '{"place": "Paris"}'
CREATED: Final = 1_700_000_000


class Turn(msgspec.Struct, frozen=True):
    """Hold everything an answer is worded from."""

    model: str
    answer_id: str
    play: Play
    usage: Usage
    tool: str = ""
    choices: int = 1
    wants_usage: bool = True
    tells_usage: bool = True
    shows_thoughts: bool = False
    speaks: bool = False
    request: dict[str, Any] = {}


def chat_answer(turn: Turn) -> bytes:
    """Word a chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": turn.play.text(), "refusal": None}
    if turn.speaks:
        sound = spoken(Protocol.openai_chat, turn.play.text_tokens, turn.request["audio"]["format"])
        told = {"id": f"audio_{turn.answer_id}", "expires_at": CREATED + 3_600, "transcript": turn.play.text()}
        message |= {"content": None, "audio": told | {"data": sound}}
    if turn.tool:
        function = {"name": turn.tool, "arguments": TOOL_ARGUMENTS}
        call = {"id": f"call_{turn.answer_id}", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    choice = {"message": message, "logprobs": None, "finish_reason": _chat_finish(turn)}
    choices = [{"index": index} | choice for index in range(turn.choices)]
    body = _chat_frame(turn, "chat.completion") | {"choices": choices}
    if turn.tells_usage:
        body["usage"] = OPENAI_CHAT.usage_report(turn.usage)
    return _encode(body)


def chat_chunks(turn: Turn) -> Iterator[tuple[int, bytes]]:
    """Word a chat completion's stream: (tokens made so far, event) for each event."""
    frame = _chat_frame(turn, "chat.completion.chunk")
    usage: dict[str, Any] = {"usage": None} if turn.wants_usage and turn.tells_usage else {}

    def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
        """Say the same thing in every choice."""
        choice = {"delta": delta, "logprobs": None, "finish_reason": finish}
        chunks = (frame | {"choices": [{"index": index} | choice]} | usage for index in range(turn.choices))
        return b"".join(event_bytes(_encode(chunk)) for chunk in chunks)

    reasoning = turn.usage.reasoning_tokens
    yield reasoning, event({"role": "assistant", "content": "" if not turn.tool else None})
    if turn.tool:
        head = {"name": turn.tool, "arguments": ""}
        yield (
            reasoning,
            event({"tool_calls": [{"index": 0, "id": f"call_{turn.answer_id}", "type": "function", "function": head}]}),
        )
        yield reasoning, event({"tool_calls": [{"index": 0, "function": {"arguments": TOOL_ARGUMENTS}}]})
    else:
        each = tokens_a_word(Protocol.openai_chat) if turn.speaks else 1
        for index in range(turn.play.text_tokens):
            word, made = turn.play.word(index), reasoning + (index + 1) * turn.choices * each
            if turn.speaks:
                yield made, event({"audio": {"id": f"audio_{turn.answer_id}", "transcript": word}})
                yield made, event({"audio": {"data": spoken(Protocol.openai_chat, 1)}})
            else:
                yield made, event({"content": word})
    made = turn.usage.output_total
    yield made, event({}, _chat_finish(turn))
    if usage:
        yield made, event_bytes(_encode(frame | {"choices": [], "usage": OPENAI_CHAT.usage_report(turn.usage)}))
    yield made, event_bytes(b"[DONE]")


def completion_answer(turn: Turn) -> bytes:
    """Word a completion that is no chat."""
    body = _completion_frame(turn, turn.play.text(), _chat_finish(turn))
    if turn.tells_usage:
        body["usage"] = OPENAI_CHAT.usage_report(turn.usage)
    return _encode(body)


def completion_chunks(turn: Turn) -> Iterator[tuple[int, bytes]]:
    """Word the stream of a completion that is no chat: (tokens made so far, event) for each event."""
    for index in range(turn.play.text_tokens):
        event = event_bytes(_encode(_completion_frame(turn, turn.play.word(index), None)))
        yield (index + 1) * turn.choices, event
    made = turn.usage.output_total
    yield made, event_bytes(_encode(_completion_frame(turn, "", _chat_finish(turn))))
    if turn.wants_usage and turn.tells_usage:
        frame = _completion_frame(turn, "", None) | {"choices": [], "usage": OPENAI_CHAT.usage_report(turn.usage)}
        yield made, event_bytes(_encode(frame))
    yield made, event_bytes(b"[DONE]")


def _completion_frame(turn: Turn, text: str, finish: str | None) -> dict[str, Any]:
    choice = {"text": text, "logprobs": None, "finish_reason": finish}
    choices = [{"index": index} | choice for index in range(turn.choices)]
    frame = _chat_frame(turn, "text_completion") | {"id": f"cmpl-{turn.answer_id}"}
    return frame | {"choices": choices}


def message_answer(turn: Turn) -> bytes:
    """Word a message."""
    if turn.tool:
        use = {"type": "tool_use", "id": f"toolu_{turn.answer_id}", "name": turn.tool}
        content = [use | {"input": msgspec.json.decode(TOOL_ARGUMENTS)}]
    else:
        content = [{"type": "text", "text": turn.play.text()}]
    body = _message_frame(turn) | {"content": content, "stop_reason": _message_stop(turn), "stop_sequence": None}
    if turn.tells_usage:
        body["usage"] = ANTHROPIC_MESSAGES.usage_report(turn.usage)
    return _encode(body)


def message_events(turn: Turn) -> Iterator[tuple[int, bytes]]:
    """Word a message's stream: (tokens made so far, event) for each event."""

    def event(name: str, **fields: Any) -> bytes:
        return event_bytes(_encode({"type": name} | fields), name)

    report = ANTHROPIC_MESSAGES.usage_report(turn.usage)
    start = _message_frame(turn) | {"content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = report | {"output_tokens": 1}
    reasoning = turn.play.reasoning_tokens
    yield reasoning, event("message_start", message=start)
    block: dict[str, Any] = {"type": "text", "text": ""}
    if turn.tool:
        block = {"type": "tool_use", "id": f"toolu_{turn.answer_id}", "name": turn.tool, "input": {}}
    yield reasoning, event("content_block_start", index=0, content_block=block)
    yield reasoning, event("ping")
    if turn.tool:
        delta = {"type": "input_json_delta", "partial_json": TOOL_ARGUMENTS}
        yield reasoning, event("content_block_delta", index=0, delta=delta)
    else:
        for index in range(turn.play.text_tokens):
            delta = {"type": "text_delta", "text": turn.play.word(index)}
            yield reasoning + index + 1, event("content_block_delta", index=0, delta=delta)
    made = turn.usage.output_total
    yield made, event("content_block_stop", index=0)
    ending: dict[str, Any] = {"delta": {"stop_reason": _message_stop(turn), "stop_sequence": None}}
    if turn.tells_usage:
        ending["usage"] = {name: report[name] for name in ("output_tokens", "output_tokens_details") if name in report}
    yield made, event("message_delta", **ending)
    yield made, event("message_stop")


def _chat_frame(turn: Turn, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{turn.answer_id}",
        "object": kind,
        "created": CREATED,
        "model": turn.model,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }


def _message_frame(turn: Turn) -> dict[str, Any]:
    return {"id": f"msg_{turn.answer_id}", "type": "message", "role": "assistant", "model": turn.model}


def _chat_finish(turn: Turn) -> str:
    return "tool_calls" if turn.tool else "length" if turn.play.stopped_by_cap else "stop"


def _message_stop(turn: Turn) -> str:
    return "tool_use" if turn.tool else "max_tokens" if turn.play.stopped_by_cap else "end_turn"
