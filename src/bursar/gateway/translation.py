"""Carry a call to providers of other protocols: what is sent there, and how their answers come back."""

from collections.abc import Sequence

from bursar.core.errors import BadRequest, Refusal, UpstreamFailed
from bursar.core.ids import call_name
from bursar.core.records import Protocol
from bursar.core.times import SECOND_US
from bursar.gateway.connection import Response
from bursar.gateway.passage import Passage, Translated
from bursar.gateway.routes import Candidate
from bursar.wires.neutral import CannotBeCarried, Sending, Telling
from bursar.wires.openai_audio import OPENAI_SPEECH, Sound
from bursar.wires.translate import StreamTranslator, translate_answer, translate_request
from bursar.wires.translate_errors import translate_error
from bursar.wires.wire import BadAnswer


def translate_call(passage: Passage, candidates: Sequence[Candidate], output_cap: int) -> Sequence[Candidate]:
    """Translate a call for the candidates of other protocols; those that cannot take all of it are left out.

    Raises `BadRequest` naming what cannot be carried, when no candidate is left.
    """
    source, facts = passage.call.protocol, passage.facts
    refused: dict[tuple[Protocol, str], BadRequest] = {}
    for candidate in candidates:
        wire, sent = candidate.wire, (candidate.wire.protocol, candidate.model)
        if wire is passage.wire or sent in passage.translated or sent in refused:
            continue
        sending = Sending(candidate.model, facts.output_cap or output_cap, stream=facts.stream)
        try:
            body = translate_request(passage.body, source, wire.protocol, sending)
            method = wire.path("", stream=facts.stream).rpartition(":")[2].partition("?")[0]
            read = wire.facts(body, f"{candidate.model}:{method}")
            if read.files:  # an address that only its own protocol can be asked for, where whose it is is looked up
                raise CannotBeCarried(read.files[0].param, "a file kept at one provider is named in its protocol alone")
            passage.translated[sent] = Translated(body, read)
        except BadRequest as refusal:
            refused[sent] = refusal
    left = tuple(each for each in candidates if (each.wire.protocol, each.model) not in refused)
    if not left:
        raise refused[candidates[0].wire.protocol, candidates[0].model]
    return left


def translate_response(passage: Passage, candidate: Candidate, response: Response) -> Refusal | None:
    """Put a provider's whole answer or error into the client's protocol; returns a refusal if that cannot be."""
    theirs, ours = candidate.wire.protocol, passage.call.protocol
    try:
        if response.status >= 300:
            response.body = translate_error(response.status, response.body, ours)
        else:
            response.body = translate_answer(response.body, theirs, ours, telling(passage))
    except BadAnswer as error:
        name = candidate.upstream.name
        return UpstreamFailed(f"the answer of provider {name} has no place in this protocol: {error}")
    return None


def stream_translator(passage: Passage, candidate: Candidate) -> StreamTranslator | Sound | None:
    """Return what puts a provider's stream into the client's protocol; None where it passes as it comes."""
    if passage.wire is OPENAI_SPEECH:
        return OPENAI_SPEECH.bare(passage.body, passage.facts)
    if candidate.wire is passage.wire:
        return None
    return StreamTranslator(candidate.wire.protocol, passage.call.protocol, telling(passage))


def telling(passage: Passage) -> Telling:
    """Return what a translated answer says of the call itself."""
    call = passage.call
    return Telling(
        call_name=call_name(call.call_id),
        created_s=call.opened_us // SECOND_US,
        wants_usage=passage.facts.wants_usage,
    )
