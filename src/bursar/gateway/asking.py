"""Say of a call what a route may know of it: its texts by part, what it needs, and how it is tagged."""

import msgspec

from bursar.gateway.passage import Passage
from bursar.gateway.settle import estimated_input
from bursar.savings.route.choice import Asked
from bursar.wires.parts import Kind, Part
from bursar.wires.prompt import read_parts


class _Format(msgspec.Struct, frozen=True):
    type: str = ""


class _Text(msgspec.Struct, frozen=True):
    format: _Format = _Format()


class _Generation(msgspec.Struct, frozen=True):
    """Hold what Gemini is told of its answer, in either spelling."""

    responseMimeType: str = ""  # noqa: N815 - as the protocol has it
    response_mime_type: str = ""


class _Wanted(msgspec.Struct, frozen=True):
    """Hold where the protocols say that the answer is to be JSON."""

    response_format: _Format = _Format()
    text: _Text = _Text()
    output_format: _Format = _Format()
    output_config: _Text = _Text()
    generationConfig: _Generation = _Generation()  # noqa: N815 - as the protocol has it
    generation_config: _Generation = _Generation()


_wanted = msgspec.json.Decoder(_Wanted)


def asked_of(passage: Passage) -> Asked:
    """Return what a route may know of a call."""
    facts, parts = passage.facts, read_parts(passage.call.protocol, passage.body)
    return Asked(
        text=_texts(parts, Kind.user),
        prompt_tokens=estimated_input(facts.segments),
        system=_texts(parts, Kind.system),
        turns=parts[-1].turn + 1 if parts else 1,
        tools=facts.segments.tools > 0,
        images=facts.media.images > 0 or facts.media.others > facts.media.unseen or bool(facts.media.sounds_ms),
        tags=passage.call.tags,
        output_cap=facts.output_cap,
        wants_json=wants_json(passage.body),
    )


def wants_json(body: bytes) -> bool:
    """Tell whether a request says, in its protocol's words, that the answer is to be JSON."""
    if b"json" not in body:
        return False
    try:
        wanted = _wanted.decode(body)
    except msgspec.MsgspecError:  # it says it in no way that is known, or not at all
        return False
    types = (wanted.response_format, wanted.text.format, wanted.output_format, wanted.output_config.format)
    generation = (wanted.generationConfig, wanted.generation_config)
    kinds = [kind for each in generation for kind in (each.responseMimeType, each.response_mime_type)]
    return any(each.type.startswith("json") for each in types) or any("json" in kind for kind in kinds)


def _texts(parts: tuple[Part, ...], kind: Kind) -> str:
    return "\n".join(part.text for part in parts if part.kind is kind)
