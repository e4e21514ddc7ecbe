"""Keep Anthropic's and Gemini's files in memory, and put what they hold where a prompt names them."""

from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec

from bursar.core.errors import BadRequest, NotFound
from bursar.wires.form import read_form

Headers: TypeAlias = list[tuple[bytes, bytes]]

_ACTIVE: Final = (b"x-goog-upload-status", b"active")
_FINAL: Final = (b"x-goog-upload-status", b"final")
_GOOGLES: Final = "https://generativelanguage.googleapis.com/v1beta"
_MADE: Final = "made"
"""What the name of a file begins with that counts as made by a tool: no other may be downloaded."""


class MessageFiles:
    """Be Anthropic's files."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._made = 0

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        """Answer a request to a path from `/files` on. Raises a `Refusal`."""
        _, *parts = path.strip("/").split("/")
        match (method, *parts):
            case ("POST",):
                return msgspec.json.encode(self._keep(body))
            case ("GET", file_id):
                return msgspec.json.encode(self._file(file_id)[0])
            case ("GET", file_id, "content"):
                about, content = self._file(file_id)
                if not about["downloadable"]:
                    raise BadRequest(f"File {file_id} is not downloadable")
                return content
            case ("DELETE", file_id):
                self._file(file_id)
                del self._files[file_id]
                return msgspec.json.encode({"id": file_id, "type": "file_deleted"})
            case _:
                raise NotFound(f"the sandbox has no {method} {path}")

    def _keep(self, body: bytes) -> dict[str, Any]:
        file = read_form(body).files("file")[0]
        self._made += 1
        about = {
            "id": f"file_sandbox{self._made:012d}",
            "type": "file",
            "filename": file.file_name or "unnamed",
            "mime_type": file.content_type or "application/octet-stream",
            "size_bytes": len(file.data),
            "created_at": datetime.now(UTC).isoformat(),
            "downloadable": (file.file_name or "").startswith(_MADE),
        }
        self._files[about["id"]] = about, file.data
        return about

    def _file(self, file_id: str) -> tuple[dict[str, Any], bytes]:
        if file_id not in self._files:
            raise NotFound(f"File not found: {file_id}")
        return self._files[file_id]

    def filled(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request to messages with the texts of the files it names; an image stays one. Raises `NotFound`."""
        return {name: self._with_texts(value) for name, value in request.items()}

    def _with_texts(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._with_texts(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
        match value:
            case {"type": kind, "source": {"type": "file", "file_id": str(file_id)}}:
                content = self._file(file_id)[1]
                return value if kind == "image" else {"type": "text", "text": content.decode(errors="replace")}
            case {"content": list(content)}:
                return {**value, "content": self._with_texts(content)}
            case _:
                return value


class ContentFiles:
    """Be Gemini's files, which come in pieces: what was begun goes on at an address of its own."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._begun: dict[str, tuple[dict[str, Any], bytearray]] = {}
        self._made = 0

    def upload(self, query: dict[str, str], given: dict[bytes, bytes], body: bytes) -> tuple[bytes, Headers]:
        """Begin an upload, or take a piece; returns what is answered, and the headers. Raises a `Refusal`."""
        command, offset = given.get(b"x-goog-upload-command", b""), given.get(b"x-goog-upload-offset", b"0")
        if command == b"start":
            self._made += 1
            name = f"upload{self._made}"
            self._begun[name] = msgspec.json.decode(body)["file"], bytearray()
            url = b"http://%b/upload/files?upload_id=%b" % (given[b"host"], name.encode())
            return b"{}", [(b"x-goog-upload-url", url), _ACTIVE]
        if query.get("upload_id") not in self._begun:
            raise NotFound("there is no such upload")
        about, content = self._begun[query["upload_id"]]
        if int(offset) != len(content) and command != b"query":
            raise BadRequest(f"expected the offset {len(content)}")
        content += body
        if b"finalize" not in command:
            return b"{}", [_ACTIVE, (b"x-goog-upload-size-received", b"%d" % len(content))]
        if len(content) != int(about["sizeBytes"]):
            raise BadRequest("the file has another size than was said")
        del self._begun[query["upload_id"]]
        kept = self.keep(bytes(content), about["mimeType"], about.get("displayName", ""))
        return msgspec.json.encode({"file": kept}), [_FINAL]

    def keep(self, content: bytes, mime_type: str, display_name: str, **more: str) -> dict[str, Any]:
        """Keep a file, and return what is said of it."""
        file_id, now = f"sandbox{len(self._files) + 1:010d}", datetime.now(UTC).isoformat()
        about = {"name": f"files/{file_id}", "mimeType": mime_type, "sizeBytes": str(len(content)), "state": "ACTIVE"}
        about |= {"uri": f"{_GOOGLES}/files/{file_id}", "createTime": now, "source": "UPLOADED", **more}
        self._files[file_id] = about | ({"displayName": display_name} if display_name else {}), content
        return self._files[file_id][0]

    def answer(self, method: str, path: str, body: bytes) -> bytes:  # noqa: ARG002
        """Answer a request to a path from `/files` on. Raises a `Refusal`."""
        name, _, action = path.removeprefix("/files").strip("/").partition(":")
        about, content = self.find(name)
        match (method, action):
            case ("GET", ""):
                return msgspec.json.encode(about)
            case ("GET", "download") if "downloadUri" in about:
                return content
            case ("DELETE", ""):
                self._files[name] = {}, b""
                return b"{}"
            case _:
                raise BadRequest(f"the sandbox has no {method} {path}, or the file was uploaded")

    def find(self, name: str) -> tuple[dict[str, Any], bytes]:
        """Return what is said of a file, and what it holds. Raises `NotFound`."""
        about, content = self._files.get(name.removeprefix("files/"), ({}, b""))
        if not about:
            raise NotFound(f"there is no file {name}")
        return about, content

    def filled(self, value: Any) -> Any:
        """Return a request with what the files it names hold, as inline data or, of a text, as that."""
        if isinstance(value, list):
            return [self.filled(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
        match value:
            case {"fileData": {"fileUri": str(uri)}} if "files/" in uri:
                about, content = self.find(uri.rpartition("/")[2])
                if about["mimeType"].startswith("text/"):
                    return {"text": content.decode(errors="replace")}
                return {"inlineData": {"mimeType": about["mimeType"], "data": ""}}
            case dict():
                return {name: self.filled(each) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
            case _:
                return value
