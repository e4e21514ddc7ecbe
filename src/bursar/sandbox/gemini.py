"""Speak Gemini as the simulated provider: read its prompts, word its answers whole or piece by piece."""

from collections.abc import Iterator
from typing import Any

import msgspec

from bursar.core.records import Protocol
from bursar.sandbox.play import canonical
from bursar.sandbox.prompt import Prompt
from bursar.sandbox.speech import spoken, tokens_a_word
from bursar.sandbox.voice import TOOL_ARGUMENTS, Turn
from bursar.wires.gemini import GEMINI, camel_case
from bursar.wires.sounds import SPOKEN
from bursar.wires.sse import event_bytes

_encode = msgspec.json.Encoder().encode


def read_contents(request: dict[str, Any]) -> Prompt:
    """Read a generateContent request, its names in either spelling."""
    asked: Any = camelled(request)
    pieces: list[tuple[bytes, str]] = []
    images, last_user_text = 0, ""
    recordings: list[str] = []
    tools = _listed(asked.get("tools"))
    if tools:
        pieces.append((canonical(tools), ""))
    contents = [{"role": "system"} | asked["systemInstruction"]] if asked.get("systemInstruction") else []
    for content in [*contents, *_listed(asked.get("contents"))]:
        for part in _listed(content.get("parts")):
            text = part.get("text")
            inline = part.get("inlineData") or {}
            if str(inline.get("mimeType", "")).startswith("audio/"):
                recordings.append(inline["data"])
            elif inline:
                images += 1
            if "inlineData" not in part:
                pieces.append((text.encode() if text is not None else canonical(part), ""))
            if text is not None and content.get("role", "user") == "user":
                last_user_text = text
    names = tuple(each["name"] for tool in tools for each in _listed(tool.get("functionDeclarations")))
    return Prompt(pieces, images, last_user_text, names, recordings=tuple(recordings))


def forced_tool(request: dict[str, Any], prompt: Prompt) -> str:
    """Name the tool that a request's `toolConfig` demands; empty when it leaves the choice."""
    config = (camelled(request).get("toolConfig") or {}).get("functionCallingConfig") or {}
    if config.get("mode") != "ANY" or not prompt.tools:
        return ""
    return str((config.get("allowedFunctionNames") or prompt.tools)[0])


def content_answer(turn: Turn) -> bytes:
    """Word a whole answer."""
    said = _sound(turn.play.text_tokens) if turn.speaks else {"text": turn.play.text()}
    parts = [*_thoughts(turn), _call(turn) if turn.tool else said]
    candidates = [_candidate(index, parts, _finish(turn)) for index in range(turn.choices)]
    return _encode(_frame(turn, candidates, made=turn.usage.output_total))


def content_chunks(turn: Turn) -> Iterator[tuple[int, bytes]]:
    """Word a stream: (tokens made so far, event) for each event. Each tells the usage so far; there is no end mark."""
    thought = turn.usage.reasoning_tokens
    made, finish = turn.usage.output_total, _finish(turn)

    def event(count: int, part: dict[str, Any], finish: str = "") -> bytes:
        candidates = [_candidate(index, [part], finish) for index in range(turn.choices)]
        return event_bytes(_encode(_frame(turn, candidates, made=count)))

    for part in _thoughts(turn):
        yield thought, event(thought, part)
    if turn.tool:
        yield made, event(made, _call(turn), finish)
        return
    each = tokens_a_word(Protocol.gemini) if turn.speaks else 1
    for index in range(turn.play.text_tokens):
        count = thought + (index + 1) * turn.choices * each
        yield count, event(count, _sound(1) if turn.speaks else {"text": turn.play.word(index)})
    yield made, event(made, {"text": ""}, finish)


def count_answer(prompt_tokens: int) -> bytes:
    """Word the answer to countTokens."""
    details = [{"modality": "TEXT", "tokenCount": prompt_tokens}]
    return _encode({"totalTokens": prompt_tokens, "promptTokensDetails": details})


def _frame(turn: Turn, candidates: list[dict[str, Any]], *, made: int) -> dict[str, Any]:
    frame: dict[str, Any] = {"candidates": candidates}
    if turn.tells_usage:
        reasoning = min(turn.usage.reasoning_tokens, made)
        usage = msgspec.structs.replace(turn.usage, reasoning_tokens=reasoning, output_tokens=made - reasoning)
        if turn.speaks and not turn.tool:
            other = turn.usage.other | {SPOKEN: made - reasoning}
            usage = msgspec.structs.replace(usage, output_tokens=0, other=other)
        frame["usageMetadata"] = GEMINI.usage_report(usage)
    return frame | {"modelVersion": turn.model, "responseId": turn.answer_id}


def _candidate(index: int, parts: list[dict[str, Any]], finish: str) -> dict[str, Any]:
    candidate = {"content": {"parts": parts, "role": "model"}, "index": index}
    return candidate | ({"finishReason": finish} if finish else {})


def _call(turn: Turn) -> dict[str, Any]:
    call = {"id": f"call_{turn.answer_id}", "name": turn.tool, "args": msgspec.json.decode(TOOL_ARGUMENTS)}
    return {"functionCall": call}


def _sound(words: int) -> dict[str, Any]:
    return {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": spoken(Protocol.gemini, words)}}


def _thoughts(turn: Turn) -> list[dict[str, Any]]:
    return [{"text": "Let me see.", "thought": True}] if turn.shows_thoughts and turn.play.reasoning_tokens else []


def _finish(turn: Turn) -> str:
    return "MAX_TOKENS" if turn.play.stopped_by_cap and not turn.tool else "STOP"


def camelled(value: Any) -> Any:
    """Spell the names of a request's fields one way, but for what is handed to tools."""
    if isinstance(value, dict):
        return {
            camel_case(name): each if name in ("args", "response") else camelled(each) for name, each in value.items()
        }
    return [camelled(each) for each in value] if isinstance(value, list) else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []
