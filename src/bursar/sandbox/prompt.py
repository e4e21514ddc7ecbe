"""Read the prompts of each protocol: their text in order, the marks of their caches, the last thing the user said."""

from typing import Any

import msgspec

from bursar.sandbox.play import canonical
from bursar.sandbox.schema import scripted_answer


class Prompt(msgspec.Struct, frozen=True):
    """Hold a prompt as the simulated provider reads it."""

    parts: list[tuple[bytes, str]]  # pieces in order, each with the lifetime of a cache mark after it
    images: int
    last_user_text: str
    tools: tuple[str, ...]
    script: str = ""  # what must be answered word for word
    recordings: tuple[str, ...] = ()  # in base64

    @property
    def content(self) -> bytes:
        """Return the whole text."""
        return b"".join(piece for piece, _ in self.parts)


def read_chat(request: dict[str, Any]) -> Prompt:
    """Read a chat completion request."""
    tools = request.get("tools") or []
    reader = _Reader()
    if tools:
        reader.add(canonical(tools))
    for message in request["messages"]:
        reader.add_content(message.get("content"), message["role"])
        if message.get("tool_calls"):
            reader.add(canonical(message["tool_calls"]))
    names = tuple(tool["function"]["name"] for tool in tools if "function" in tool)
    shape = (request.get("response_format") or {}).get("json_schema") or {}
    script = scripted_answer(shape.get("schema"))
    return Prompt(reader.parts, reader.images, reader.last_user_text, names, script, tuple(reader.recordings))


def read_completion(request: dict[str, Any]) -> Prompt:
    """Read the request of a completion that is no chat."""
    prompt: Any = request.get("prompt") or ""
    texts: list[Any] = [prompt] if isinstance(prompt, str) else prompt
    parts = [(text.encode() if isinstance(text, str) else canonical(text), "") for text in texts]
    last = texts[-1] if texts and isinstance(texts[-1], str) else ""
    return Prompt(parts, 0, last, ())


def read_responses(request: dict[str, Any]) -> Prompt:
    """Read a responses request."""
    tools = request.get("tools") or []
    reader = _Reader()
    if tools:
        reader.add(canonical(tools))
    reader.add_content(request.get("instructions"), "system")
    asked = request.get("input") or []
    items: list[dict[str, Any]] = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    for item in items:
        if "role" in item:
            reader.add_content(item.get("content"), item["role"])
        elif "output" in item:
            reader.add_content(item["output"], "tool")
        else:
            reader.add(canonical(item))
    names = tuple(tool["name"] for tool in tools if tool.get("type") in ("function", "custom"))
    script = scripted_answer(((request.get("text") or {}).get("format") or {}).get("schema"))
    return Prompt(reader.parts, reader.images, reader.last_user_text, names, script, tuple(reader.recordings))


def read_messages(request: dict[str, Any]) -> Prompt:
    """Read a messages request."""
    reader = _Reader()
    for tool in request.get("tools") or []:
        reader.add(canonical({k: v for k, v in tool.items() if k != "cache_control"}), _lifetime(tool))
    reader.add_content(request.get("system"), "system")
    for message in request["messages"]:
        reader.add_content(message["content"], message["role"])
    names = tuple(tool["name"] for tool in request.get("tools") or [])
    return Prompt(reader.parts, reader.images, reader.last_user_text, names)


class _Reader:
    def __init__(self) -> None:
        self.parts: list[tuple[bytes, str]] = []
        self.images = 0
        self.recordings: list[str] = []
        self.last_user_text = ""

    def add(self, piece: bytes, lifetime: str = "") -> None:
        self.parts.append((piece, lifetime))

    def add_content(self, content: Any, role: str) -> None:
        if isinstance(content, str):
            self.add(content.encode())
            if role == "user":
                self.last_user_text = content
            return
        for part in content or []:
            if part.get("type") in ("image", "image_url", "input_image"):
                self.images += 1
                self.add(b"", _lifetime(part))
                continue
            if part.get("type") == "input_audio":
                self.recordings.append(part["input_audio"]["data"])
                continue
            text = part.get("text")
            self.add(text.encode() if text is not None else canonical(part), _lifetime(part))
            if role == "user" and text is not None:
                self.last_user_text = text


def _lifetime(part: dict[str, Any]) -> str:
    mark = part.get("cache_control")
    return str(mark.get("ttl", "5m")) if mark else ""
