"""Read what a request of OpenAI's responses asks for: how large its prompt is, and whether all of it has a meter."""

from typing import Final

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.records import Segments
from bursar.wires.sound_frames import Steps
from bursar.wires.sounds import input_audio_ms
from bursar.wires.wire import (
    ABSENT,
    NO_MEDIA,
    OFF,
    UNREADABLE,
    Media,
    Resold,
    bad_request,
    check_cap,
    check_model,
    check_resold,
    openai_tier,
    unmetered,
    utf8_len,
)


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None
    image_url: msgspec.Raw = ABSENT
    file_id: msgspec.Raw = ABSENT
    file_data: msgspec.Raw = ABSENT
    file_url: msgspec.Raw = ABSENT
    input_audio: msgspec.Raw = ABSENT


class _Item(msgspec.Struct):
    type: str | None = None
    id: msgspec.Raw = ABSENT
    role: str | None = None
    content: str | list[_Part] | None = None
    summary: msgspec.Raw = ABSENT  # of reasoning
    encrypted_content: msgspec.Raw = ABSENT
    arguments: msgspec.Raw = ABSENT  # of a call
    input: msgspec.Raw = ABSENT
    action: msgspec.Raw = ABSENT
    operation: msgspec.Raw = ABSENT
    output: msgspec.Raw = ABSENT  # of what was called
    result: msgspec.Raw = ABSENT  # an image that was made
    tools: msgspec.Raw = ABSENT


class _Kind(msgspec.Struct):
    type: str = ""


class _Tool(msgspec.Struct):
    type: str
    environment: _Kind | None = None  # where a shell runs
    tools: "list[_Tool] | None" = None  # of a namespace


class _Request(Resold, kw_only=True):
    model: str
    input: str | list[_Item] | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    service_tier: str | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: msgspec.Raw = ABSENT
    prompt: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT


class _Named(msgspec.Struct):
    id: str


_request = msgspec.json.Decoder(_Request)
_named = msgspec.json.Decoder(str | _Named)
_parts = msgspec.json.Decoder(list[_Part])
_part = msgspec.json.Decoder(_Part)
_tools = msgspec.json.Decoder(list[_Tool] | None)

# Tools that run at the client's, or cost the tokens of the request alone.
_CLIENTS_TOOLS: Final = (
    "function",
    "custom",
    "computer",
    "computer_use_preview",
    "local_shell",
    "apply_patch",
    "tool_search",
    "namespace",
)
_SEARCHES: Final = ("web_search", "web_search_2025_08_26")  # the preview of it has other prices
# Parts whose bytes bound their tokens; what a shell has printed is one without a type.
_BOUNDED_PARTS: Final = ("input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text", "")
_AUDIO_PART: Final = "input_audio"
_IMAGE_PARTS: Final = ("input_image", "computer_screenshot")
_CALLS: Final = (
    "reasoning",
    "function_call",
    "custom_tool_call",
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "tool_search_call",
)
"""What a model has answered besides messages: all of it is in the item."""
_RESULTS: Final = (
    "function_call_output",
    "custom_tool_call_output",
    "computer_call_output",
    "local_shell_call_output",
    "shell_call_output",
    "apply_patch_call_output",
)
_BOUNDED_ITEMS: Final = ("additional_tools", "tool_search_output", "compaction", "configuration_update")
_ITEM_MAX: Final = 1_000
"""Items of earlier answers a request may name: each is looked up."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """Hold what a request asks for."""

    model: str
    stream: bool
    output_cap: int | None
    service_tier: str
    segments: Segments
    media: Media
    searches_web: bool
    recalls: tuple[tuple[str, str], ...]


def read_request(body: bytes) -> Asked:
    """Read a request. Raises `BadRequest` naming the field and the kind expected, `Unmetered` without a meter."""
    try:
        request = _request.decode(body)
    except UNREADABLE as error:
        raise bad_request(error) from None
    check_model(request.model)
    if request.max_output_tokens is not None:
        check_cap(request.max_output_tokens, "max_output_tokens")
    _check_metered(request)
    sizes = _Sizes(request)
    return Asked(
        request.model,
        bool(request.stream),
        request.max_output_tokens,
        openai_tier(request.service_tier),
        sizes.segments(),
        sizes.media(),
        sizes.searches,
        _recalls(request, sizes.named) if sizes.recalls else (),
    )


def _recalls(request: _Request, items: list[msgspec.Raw]) -> tuple[tuple[str, str], ...]:
    """Name what the provider is to have kept: by which field, and its id. Raises `BadRequest` for what is no id."""
    found: list[tuple[str, str]] = []
    if request.previous_response_id:
        found.append(("previous_response_id", request.previous_response_id))
    talk = request.conversation
    if bytes(talk) not in OFF:
        found.append(("conversation", _id_in(talk, "conversation")))
    found += (("input", _id_in(each, "input")) for each in items)
    if len(found) > _ITEM_MAX:
        raise BadRequest(f"expected at most {_ITEM_MAX:,} items of earlier answers in `input`", param="input")
    return tuple(dict.fromkeys(found))


def _id_in(named: msgspec.Raw, param: str) -> str:
    try:
        read = _named.decode(named)
    except UNREADABLE:
        raise BadRequest(f"expected a string with an id in `{param}`", param=param) from None
    return read if isinstance(read, str) else read.id


def _check_metered(request: _Request) -> None:
    """Check that nothing is asked for that would be billed beside the tokens, or by another model, or later."""
    if request.background:
        raise unmetered("an answer that comes when the call is over", "background")
    if bytes(request.prompt) not in OFF:
        raise unmetered("what a prompt stored at the provider's brings, such as tools,", "prompt")
    check_resold(request)


def _may_search(tools: msgspec.Raw, param: str) -> bool:
    """Tell whether tools search the web. Raises `BadRequest`, and `Unmetered` for those without a meter."""
    if tools is ABSENT:
        return False
    try:
        read: list[_Tool] = _tools.decode(tools) or []
    except UNREADABLE:
        raise BadRequest(f"expected a list of tools in `{param}`", param=param) from None
    searches = False
    for tool in read:
        if tool.type in _SEARCHES:
            searches = True
        elif not _is_clients(tool) or not all(map(_is_clients, tool.tools or ())):
            raise unmetered("a tool of this type at the provider's", param)
    return searches


def _is_clients(tool: _Tool) -> bool:
    if tool.type == "shell":
        return tool.environment is not None and tool.environment.type == "local"
    return tool.type in _CLIENTS_TOOLS


class _Sizes:
    """Measure each part of the prompt. The last run of user messages is `user`, what precedes it `history`."""

    def __init__(self, request: _Request) -> None:
        self._system = utf8_len(request.instructions or "")
        self._tools = len(request.tools)
        self._history = self._retrieved = self._user = 0
        self._images = self._others = self._media_bytes = self._unseen = 0
        self._sounds_ms: list[int] = []
        self._steps = Steps()
        self.searches = _may_search(request.tools, "tools")
        self.named: list[msgspec.Raw] = []  # ids of items whose content the provider is to have kept
        # What the provider adds to the prompt by itself: what it finds, and what it has kept of earlier turns.
        talk = request.conversation
        self.recalls = bool(request.previous_response_id or (talk is not ABSENT and bytes(talk) not in OFF))
        if self.searches or self.recalls:
            self._others += 1
            self._unseen += 1
        if isinstance(request.input, str):
            self._user = utf8_len(request.input)
        else:
            for item in request.input or ():
                self._add(item)

    def segments(self) -> Segments:
        """Return the size of each part, in bytes."""
        return Segments(self._system, self._tools, self._history, self._retrieved, self._user)

    def media(self) -> Media:
        """Return what the text does not bound."""
        found = self._images or self._others or self._media_bytes
        counts = self._images, self._others, self._media_bytes, self._unseen
        return Media(*counts, tuple(self._sounds_ms)) if found else NO_MEDIA

    def _add(self, item: _Item) -> None:
        content = item.content
        size = utf8_len(content) if isinstance(content, str) else sum(map(self._measure, content or ()))
        role = None
        if item.type is None or item.type == "message":
            role = item.role
        else:
            size += len(item.arguments) + len(item.input) + len(item.action) + len(item.operation)
            size += len(item.summary) + len(item.encrypted_content)
        if item.type in _RESULTS:
            self._retrieved += size + self._measure_result(item.output)
        elif item.type in _CALLS or role == "assistant":
            self._history += size + self._user
            self._user = 0
            if item.type == "reasoning" and not content and bytes(item.encrypted_content) in OFF:
                self._recall(item)
        elif role in ("system", "developer"):
            self._system += size
        elif role is not None:
            self._user += size
        elif item.type == "image_generation_call":
            self._images += 1
            self._media_bytes += len(item.result)
            self._recall(item)
        else:
            self._history += size
            if item.type not in _BOUNDED_ITEMS:
                self._others += 1
                self._recall(item)
        if item.tools is not ABSENT:
            self._tools += len(item.tools)
            self._others += (searches := _may_search(item.tools, "input"))
            self._unseen += searches
            self.searches = self.searches or searches

    def _recall(self, item: _Item) -> None:
        """Note an item that the provider finds by its id, or may."""
        if bytes(item.id) not in OFF:
            self.named.append(item.id)
            self.recalls = True

    def _measure(self, part: _Part) -> int:
        """Return the bytes of a part's text, and count its media."""
        if part.type not in _BOUNDED_PARTS:
            image, audio = part.type in _IMAGE_PARTS, part.type == _AUDIO_PART
            self._images += image
            self._others += not image and not audio
            if audio:
                self._sounds_ms.append(input_audio_ms(part.input_audio, "input.content.input_audio", self._steps))
            self._media_bytes += len(part.image_url) + len(part.file_id) + len(part.file_data)
            self._media_bytes += len(part.file_url) + len(part.input_audio)
        return utf8_len(part.text or "") + utf8_len(part.refusal or "")

    def _measure_result(self, output: msgspec.Raw) -> int:
        """Measure what a tool gave back; what has another shape is text as far as bytes bound it."""
        try:
            if bytes(output).startswith(b"["):
                return self._measure_all(_parts.decode(output), output)
            if bytes(output).startswith(b"{"):
                return self._measure_all([_part.decode(output)], output)
        except UNREADABLE:
            return len(output)
        return len(output)

    def _measure_all(self, parts: list[_Part], output: msgspec.Raw) -> int:
        before = self._media_bytes
        for part in parts:
            self._measure(part)
        return len(output) - (self._media_bytes - before)
