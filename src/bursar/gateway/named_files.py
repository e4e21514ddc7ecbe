"""Let a call name files its provider has kept, where they are its key's own; and bound what they take.

Many keys share one account at a provider: who named another's file would read it. So what a call names is looked up in
the books, and the call goes to the provider that keeps it and to no other. Calls that name none ask nobody.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bursar.core.errors import BadRequest, BooksError, NotFound, Unavailable
from bursar.core.records import Protocol
from bursar.gateway.control import Control
from bursar.gateway.passage import Passage
from bursar.gateway.routes import Candidate
from bursar.store.batches import KeptFile, find_files
from bursar.wires.wire import Facts, NamedFile

_KEPT_BY: Final[Mapping[Protocol, Protocol]] = {
    Protocol.anthropic_messages: Protocol.anthropic_batch,
    Protocol.gemini: Protocol.gemini_batch,
}
"""By a call's protocol, that of the batches whose files it may name."""

_WAY_OUT: Final = "or send what they hold inline"


class NamedFiles:
    """Look up files that calls name."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def find(
        self, tenant: int, key_id: str, protocol: Protocol, named: Sequence[NamedFile]
    ) -> dict[str, KeptFile]:
        """Return the files a call of some protocol names, all of them its key's own and kept by one provider.

        Raises `NotFound` naming the first that is not, `BadRequest` for several providers, `Unavailable`.
        """
        ids, kept_by = list({each.file_id for each in named}), _KEPT_BY[protocol]
        try:
            files = await self._control.run(lambda connection: find_files(connection, tenant, key_id, kept_by, ids))
        except BooksError as error:
            raise Unavailable(f"the files this call names cannot be looked up: {error}", retry_after_s=1) from error
        found = {file.file_id: file for file in files}
        for each in named:
            if each.file_id not in found:
                message = f"File not found: {each.file_id[:128]}, in `{each.param}`: upload it here with this key"
                raise NotFound(message, code="file_not_found", param=each.param)
        providers = sorted({file.provider for file in files})
        if len(providers) > 1:
            said = f"the files of this call are kept by {' and '.join(providers)}: upload them to one"
            raise BadRequest(f"{said}, {_WAY_OUT}", code="files_apart", param=named[0].param)
        return found

    async def take_in(self, passage: Passage, target: str) -> None:
        """Take in the files a call names: where it can go, and what it can cost at most.

        Its body is written anew, each field once: the provider finds the file that was looked up, and no other.
        """
        call = passage.call
        found = await self.find(call.tenant, call.key_id, call.protocol, passage.facts.files)
        passage.kept_at = next(iter(found.values())).provider
        passage.body = msgspec.json.encode(msgspec.json.decode(passage.body))
        passage.facts = bounded(passage.wire.facts(passage.body, target), found)


def bounded(facts: Facts, found: Mapping[str, KeptFile]) -> Facts:
    """Return a call's facts with its texts bounded by their bytes and its images as such, not by the model's window."""
    plain = [found[each.file_id] for each in facts.files if each.is_plain]
    texts = [file for file in plain if file.media_type.startswith("text/")]
    images = sum(file.media_type.startswith("image/") for file in plain)
    others, images = facts.media.others - len(texts) - images, facts.media.images + images
    media = msgspec.structs.replace(facts.media, images=images, others=others)
    text_bytes = facts.text_bytes + sum(file.size for file in texts)
    no_media = not images and not others and not media.sounds_ms
    traits = msgspec.structs.replace(facts.traits, media=False) if no_media else facts.traits
    return msgspec.structs.replace(facts, media=media, text_bytes=text_bytes, traits=traits)


def at_keeper(passage: Passage, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return those of a call's candidates who keep its files, with nobody to fall back to. Raises `BadRequest`."""
    kept_at = passage.kept_at
    found = tuple(each for each in candidates if each.upstream.name == kept_at and each.wire is passage.wire)
    if not found or passage.routed is not None:
        model = passage.facts.model
        why = "is a route, which may choose another" if passage.routed is not None else "is not answered there"
        raise BadRequest(
            f"the files of this call are kept by {kept_at}, and {model!r} {why}: name a model of {kept_at}, {_WAY_OUT}",
            code="files_elsewhere",
            param=passage.facts.files[0].param,
        )
    passage.rules = msgspec.structs.replace(passage.rules, fallbacks=())
    return found
