"""Keep Gemini's files for a key, each its own; what comes in pieces goes on to its provider piece by piece.

An upload begins with the key, and goes on by the address that its beginning answers: that leads back here, and holds a
pass that stands for the key within that upload alone (`gateway.identify`).
"""

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from bursar.core.errors import BadRequest, Forbidden, NotFound, UpstreamFailed
from bursar.core.records import Protocol
from bursar.gateway.asgi import JSON, send_whole
from bursar.gateway.batches.ask import Question, ask_whole
from bursar.gateway.batches.ending import headers_of
from bursar.gateway.batches.own_files import OwnFiles, plain_kind
from bursar.gateway.batches.visit import Reception, Visit, page_of, pass_on, send_json
from bursar.gateway.connection import Headers, Response
from bursar.gateway.identify import new_pass
from bursar.gateway.routes import Routes, Upstream
from bursar.gateway.signpost import way_on
from bursar.store.batches import FilePage, KeptFile
from bursar.store.uploads import Upload, begin_upload, end_upload, find_upload, upload_goes_on
from bursar.wires.batch import is_id, read_by
from bursar.wires.gemini import GEMINI, named
from bursar.wires.protocols import BATCH_ROUTES
from bursar.wires.wire import UNREADABLE, bad_request, read_fields

PATH: Final = "/v1beta/files"
UPLOAD_PATH: Final = "/upload/v1beta/files"
BYTES_MAX: Final = 2 * 1024**3
"""What one file may take: as much as at Google ("Files API", checked 2026-11-23)."""

_PROTOCOL: Final = Protocol.gemini_batch
_ROUTES: Final = (GEMINI.route, BATCH_ROUTES[_PROTOCOL])
_KINDS: Final = re.compile(rb"[A-Za-z0-9.+/_-]{1,127}(?:; ?[A-Za-z0-9=\"_-]{1,63})?")
_HOST: Final = re.compile(rb"[A-Za-z0-9.\-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_ADDRESS: Final = re.compile(r"/[!-~]{1,4000}")
_FIELDS: Final = ("displayName", "mimeType", "sizeBytes")
_COMMANDS: Final = ("upload", "upload, finalize", "finalize", "query", "cancel")
_SHOWN: Final = (b"x-goog-upload-status", b"x-goog-upload-size-received", b"x-goog-upload-chunk-granularity")


class _About(msgspec.Struct, rename="camel"):
    name: str
    mime_type: str = ""


class _Uploaded(msgspec.Struct):
    file: _About


_uploaded = msgspec.json.Decoder(_Uploaded)


class ContentFiles:
    """Serve Gemini's files."""

    def __init__(self, reception: Reception, routes: Routes) -> None:
        self._reception = reception
        self._routes = routes
        self._own = OwnFiles(reception, routes, _PROTOCOL, "Gemini's")

    async def serve(self, visit: Visit) -> None:
        """Answer one request for files."""
        _check_routes(visit)
        match (visit.method, visit.path):
            case ("GET", ()):
                await self._list(visit)
            case ("GET", (name,)) if name.endswith(":download"):
                await self._own.pour(
                    visit, await self._find(visit, name.removesuffix(":download")), ":download?alt=media"
                )
            case ("GET", (file_id,)):
                response = await self._own.ask(visit, await self._find(visit, file_id), "GET")
                await pass_on(visit.send, response, response.body, [])
            case ("DELETE", (file_id,)):
                response = await self._own.delete(visit, await self._find(visit, file_id))
                await pass_on(visit.send, response, response.body, [])
            case _:
                raise _no_route(visit)

    async def _find(self, visit: Visit, file_id: str) -> KeptFile:
        file = await self._own.find(visit, file_id)
        if file is None:
            raise NotFound(f"There is no file files/{file_id} here.", code="file_not_found", param="name")
        return file

    async def _list(self, visit: Visit) -> None:
        after, limit = page_of(visit.query, "pageSize", "pageToken")
        found, said, more = await self._own.page(visit, FilePage(limit, after))
        page: dict[str, Any] = {"files": [msgspec.Raw(each) for each in said]}
        await send_json(visit.send, page | ({"nextPageToken": found[-1].file_id} if more and found else {}))

    async def upload(self, visit: Visit) -> None:
        """Begin an upload, or go on with one."""
        _check_routes(visit)
        if visit.method != "POST" or visit.path:
            raise _no_route(visit)
        command = visit.given(b"x-goog-upload-command").decode("latin-1")
        if "upload_id" in visit.query:
            await self._go_on(visit, command)
        elif command == "start" and visit.given(b"x-goog-upload-protocol") == b"resumable":
            await self._begin(visit)
        else:
            raise BadRequest(
                "files are taken in pieces: expected `X-Goog-Upload-Protocol: resumable` and `X-Goog-Upload-Command:"
                " start`, as the official clients send",
                param="X-Goog-Upload-Protocol",
            )

    async def _begin(self, visit: Visit) -> None:
        size, kind = (
            visit.given(b"x-goog-upload-header-content-length"),
            visit.given(b"x-goog-upload-header-content-type"),
        )
        if not size.isdigit() or len(size) > 12 or not 0 < int(size) <= BYTES_MAX:
            name = "X-Goog-Upload-Header-Content-Length"
            raise BadRequest(f"expected a size from 1 to {BYTES_MAX} bytes in `{name}`", param=name)
        if _KINDS.fullmatch(kind) is None:
            name = "X-Goog-Upload-Header-Content-Type"
            raise BadRequest(f"expected a kind such as application/pdf in `{name}`", param=name)
        host = visit.given(b"host")
        if _HOST.fullmatch(host) is None:
            raise BadRequest("expected a name and perhaps a port in `Host`", param="Host")
        about = _about(await self._reception.body(visit), int(size), kind.decode())
        upload_id, text = new_pass(visit.headers.secret)
        upload = Upload(upload_id, self._own.usual().name, kind.decode(), int(size), about)
        key, now_us = visit.key, self._reception.calls.clock_us()
        await self._reception.books(lambda connection: begin_upload(connection, key.tenant, key.key_id, upload, now_us))
        scheme = b"https" if visit.given(b"x-forwarded-proto") == b"https" else b"http"
        url = b"%b://%b%b?upload_id=%b&upload_protocol=resumable" % (scheme, host, UPLOAD_PATH.encode(), text.encode())
        headers = [JSON, (b"x-goog-upload-url", url), (b"x-goog-upload-status", b"active")]
        await send_whole(visit.send, 200, [*headers, (b"x-goog-upload-chunk-granularity", b"262144")], b"{}")

    async def _go_on(self, visit: Visit, command: str) -> None:
        """Pass a piece on, and keep whose the file is once it is whole."""
        if command not in _COMMANDS:
            name = "X-Goog-Upload-Command"
            raise BadRequest(f"expected one of {'; '.join(_COMMANDS)} in `{name}`", param=name)
        offset = visit.given(b"x-goog-upload-offset") or b"0"
        if not offset.isdigit() or len(offset) > 12:
            raise BadRequest("expected a number of bytes in `X-Goog-Upload-Offset`", param="X-Goog-Upload-Offset")
        upload, piece = await self._found(visit), await self._reception.body(visit)
        upstream = self._routes.upstreams.get(upload.provider)
        if upstream is None:
            raise UpstreamFailed(f"provider {upload.provider} is not configured any more: begin the upload again")
        is_first = not upload.path
        if is_first:
            upload = await self._begun(upload, upstream)
        lines = b"x-goog-upload-command: %b\r\nx-goog-upload-offset: %b\r\n" % (command.encode(), offset)
        response = await _ask(upstream, upload.path, piece, lines)
        status = dict(response.headers).get(b"x-goog-upload-status", b"")
        if response.status < 300 and status == b"final" and "finalize" in command:
            await self._keep(visit, upload, response, piece if is_first and not int(offset) else b"")
        if status in (b"final", b"cancelled"):
            await self._reception.books(lambda connection: end_upload(connection, upload))
        shown: Headers = [pair for pair in response.headers if pair[0] in _SHOWN]
        await pass_on(visit.send, response, response.body, shown)

    async def _found(self, visit: Visit) -> Upload:
        key, now_us = visit.key, self._reception.calls.clock_us()
        upload_id = visit.query["upload_id"].rpartition(".")[2][:64]
        found = await self._reception.books(
            lambda connection: find_upload(connection, key.tenant, key.key_id, upload_id, now_us)
        )
        if found is None:
            raise NotFound("this upload has ended, or took too long: begin it again", code="upload_not_found")
        return found

    async def _begun(self, upload: Upload, upstream: Upstream) -> Upload:
        """Begin an upload at its provider, and keep where it goes on."""
        before, _, version = upstream.pool.path.rpartition("/")
        path = f"{before}/upload{'/' if version else ''}{version}/files"
        lines = b"x-goog-upload-protocol: resumable\r\nx-goog-upload-command: start\r\n"
        lines += b"x-goog-upload-header-content-length: %d\r\n" % upload.size
        lines += b"x-goog-upload-header-content-type: %b\r\n" % upload.media_type.encode()
        response = await _ask(upstream, path, upload.about, lines)
        parts = urlsplit(dict(response.headers).get(b"x-goog-upload-url", b"").decode("latin-1"))
        address = f"{parts.path}?{parts.query}"
        if response.status >= 300 or _ADDRESS.fullmatch(address) is None:
            raise UpstreamFailed(f"provider {upstream.name} answered {response.status} and began no upload")
        await self._reception.books(lambda connection: upload_goes_on(connection, upload, address))
        return msgspec.structs.replace(upload, path=address)

    async def _keep(self, visit: Visit, upload: Upload, response: Response, whole: bytes) -> None:
        """Write down whose a file is; `whole` is what it holds, where that came in one piece."""
        said = read_by(_uploaded, response.body).file
        file_id = said.name.removeprefix("files/")
        if not is_id(file_id):
            raise UpstreamFailed(f"provider {upload.provider} did not say the name of the file")
        kind = plain_kind(whole, upload.media_type)
        about, size = {"protocol": _PROTOCOL, "media_type": kind}, max(upload.size, len(whole))
        await self._own.keep(visit, KeptFile(upload.provider, file_id, "content", size, **about))


async def _ask(upstream: Upstream, path: str, body: bytes, lines: bytes) -> Response:
    protocol = headers_of(upstream, _PROTOCOL)
    return await ask_whole(upstream, Question("POST", path, protocol, body, forwarded=lines, rooted=True))


def _about(body: bytes, size: int, kind: str) -> bytes:
    """Return what the provider is told of a file. Raises `BadRequest` naming the field."""
    try:
        fields = named(read_fields(body or b"{}"))
        about = named(read_fields(fields["file"])) if "file" in fields else {}
    except UNREADABLE as error:
        raise bad_request(error) from None
    if unknown := [name for name in about if name not in _FIELDS]:
        what = (
            "the provider names a file: leave `file.name` out"
            if "name" in unknown
            else f"expected {', '.join(_FIELDS)}"
        )
        raise BadRequest(what, param="file")
    told: dict[str, Any] = {"mimeType": kind, "sizeBytes": str(size)}
    if "displayName" in about:
        told["displayName"] = about["displayName"]
    return msgspec.json.encode({"file": told})


def _check_routes(visit: Visit) -> None:
    """Check that a key may ask for contents, which may name files, or make batches. Raises `Forbidden`."""
    key = visit.key
    if key.routes and not set(_ROUTES) & set(key.routes):
        raise Forbidden(f"key {key.name!r} may not keep files: it may use {', '.join(key.routes)}")


def _no_route(visit: Visit) -> NotFound:
    path = visit.scope["path"]
    return NotFound(f"no route {visit.method} {path}: {way_on(path)}", code="no_route")
