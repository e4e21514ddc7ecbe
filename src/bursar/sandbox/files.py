"""Keep Anthropic's files in memory, and put what they hold where a message names them."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from bursar.core.errors import BadRequest, NotFound
from bursar.wires.form import read_form

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
