"""Find the files of a key, whatever their protocol, and ask their providers for them."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from bursar.core.errors import NotFound, UpstreamFailed
from bursar.core.records import Protocol
from bursar.gateway.batches.ask import Question, ask, ask_whole, few_at_once
from bursar.gateway.batches.ending import headers_of, keeps_files
from bursar.gateway.batches.visit import Reception, Visit, pour
from bursar.gateway.connection import Response
from bursar.gateway.routes import Routes, Upstream
from bursar.store.batches import FilePage, KeptFile, files_of, find_file, find_files, forget_file, keep_file
from bursar.wires.batch import is_id


class _Named(msgspec.Struct):
    id: str


_named = msgspec.json.Decoder(_Named)

_PDF: Final = b"%PDF"
_PDF_WITHIN: Final = 4_096  # readers look for it within the first 1,024 bytes
_IMAGES: Final = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8")


class OwnFiles:
    """Keep, find, show and forget a key's own files of one protocol."""

    def __init__(self, reception: Reception, routes: Routes, protocol: Protocol, owner: str) -> None:
        """Take the protocol, which is that of batches, and whose files they are, for people to read."""
        self._reception = reception
        self._routes = routes
        self._protocol = protocol
        self._owner = owner

    async def find(self, visit: Visit, file_id: str) -> KeptFile | None:
        """Find a key's own file; None for what is another's or not there."""
        key = visit.key
        return await self._reception.books(
            lambda connection: find_file(connection, key.tenant, key.key_id, self._protocol, file_id)
        )

    async def keep(self, visit: Visit, file: KeptFile) -> None:
        """Write down that a file is a key's own."""
        key, now_us = visit.key, self._reception.calls.clock_us()
        await self._reception.books(lambda connection: keep_file(connection, key.tenant, key.key_id, file, now_us))

    async def page(self, visit: Visit, page: FilePage) -> tuple[list[KeptFile], list[bytes], bool]:
        """Return a page of a key's files, what their providers say of those in reach, and whether there are more."""
        key, providers, more = (
            visit.key,
            list(self._routes.upstreams),
            msgspec.structs.replace(page, limit=page.limit + 1),
        )
        whose = (key.tenant, key.key_id, self._protocol)
        found = await self._reception.books(lambda connection: files_of(connection, whose, providers, more))
        shown = found[-page.limit :] if page.before is not None else found[: page.limit]
        return shown, await self.described(visit, shown), len(found) > page.limit

    async def some(self, visit: Visit, file_ids: Sequence[str]) -> list[KeptFile]:
        """Return those of some files that are a key's own."""
        key = visit.key
        return await self._reception.books(
            lambda connection: find_files(connection, key.tenant, key.key_id, self._protocol, file_ids)
        )

    async def described(self, visit: Visit, files: Sequence[KeptFile]) -> list[bytes]:
        """Return what their providers say of files, without those that are gone or out of reach."""
        answers = await few_at_once([partial(self.ask, visit, file, "GET") for file in files])
        return [each.body for each in answers if each is not None and each.status < 300]

    async def delete(self, visit: Visit, file: KeptFile) -> Response:
        """Have a file deleted, and forget it."""
        response = await self.ask(visit, file, "DELETE")
        if response.status < 300 or response.status == 404:
            tenant, now_us = visit.key.tenant, self._reception.calls.clock_us()
            await self._reception.books(lambda connection: forget_file(connection, tenant, file, now_us))
        return response

    async def pour(self, visit: Visit, file: KeptFile, action: str) -> None:
        """Pass a file's content on as it comes."""
        question = self._question(visit, file, "GET", action)
        await pour(visit.send, await ask(self.upstream(file), question, stream=True))

    async def ask(self, visit: Visit, file: KeptFile, method: str) -> Response:
        """Ask a file's provider for what it says of the file, or to delete it."""
        return await ask_whole(self.upstream(file), self._question(visit, file, method, ""))

    def _question(self, visit: Visit, file: KeptFile, method: str, action: str) -> Question:
        protocol = headers_of(self.upstream(file), self._protocol)
        return Question(method, f"/files/{file.file_id}{action}", protocol, forwarded=visit.headers.forwarded)

    def upstream(self, file: KeptFile) -> Upstream:
        """Return who keeps a file. Raises `UpstreamFailed` when it is configured no more."""
        found = self._routes.upstreams.get(file.provider)
        if found is None:
            raise UpstreamFailed(f"provider {file.provider} is not configured any more: its files are out of reach")
        return found

    def usual(self) -> Upstream:
        """Return the provider of files that name no model: the first that keeps such. Raises `NotFound` without one."""
        found = next((each for each in self._routes.upstreams.values() if keeps_files(each, self._protocol)), None)
        if found is None:
            raise NotFound(f"no provider here keeps files of {self._owner} kind", code="no_provider")
        return found


def plain_kind(content: bytes, said: str) -> str:
    """Return what a file holds where its first bytes bear out what is said of it: a text or an image; else nothing.

    Who calls a PDF a text would be held to its bytes, and its pages may take more tokens than that.
    """
    if not content or _PDF in content[:_PDF_WITHIN]:
        return ""
    if said.startswith("image/"):
        return said if content.startswith(_IMAGES) or content[8:12] == b"WEBP" else ""
    try:
        return said if said.startswith("text/") and content.decode() else ""
    except UnicodeDecodeError:
        return ""


def id_in(response: Response, upstream: Upstream) -> str:
    """Return the id a provider gave a file. Raises `UpstreamFailed` for none, and for one that no address can hold."""
    try:
        file_id = _named.decode(response.body).id
    except msgspec.MsgspecError:
        file_id = ""
    if not is_id(file_id):
        raise UpstreamFailed(f"provider {upstream.name} did not say the id of the file, or none that can be one")
    return file_id
