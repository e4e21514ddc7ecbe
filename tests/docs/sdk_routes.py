"""Find every route that the official SDKs' clients ask, by reading their own modules."""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

_VERBS: Final = {
    "_get": "GET",
    "_post": "POST",
    "_put": "PUT",
    "_patch": "PATCH",
    "_delete": "DELETE",
    "_get_api_list": "GET",
}
_GEMINI_VERSION: Final = "v1beta"
_GEMINI_NAMES: Final = {
    "caches": {"name": "cachedContents/{name}"},
    "documents": {"name": "fileSearchStores/{store}/documents/{name}", "parent": "fileSearchStores/{store}"},
    "file_search_stores": {
        "name": "fileSearchStores/{name}",
        "file_search_store_name": "fileSearchStores/{name}",
    },
    "models": {"name": "models/{model}", "model": "models/{model}", "models_url": "models"},
    "batches": {"model": "models/{model}"},
    "tunings": {"name": "tunedModels/{name}"},
    "operations": {"operationName": "models/{model}/operations/{name}"},
}
"""What the SDK calls a name holds its collection: a path cannot be read from the template alone."""

_SOCKETS: Final = (
    ("openai", "/v1/realtime"),
    ("openai", "/v1/responses"),
    ("google-genai", f"/ws/google.ai.generativelanguage.{_GEMINI_VERSION}.GenerativeService.BidiGenerateContent"),
    ("google-genai", f"/ws/google.ai.generativelanguage.{_GEMINI_VERSION}.GenerativeService.BidiGenerateMusic"),
)
"""Opened as WebSockets, by code that has no template to read."""

_LED_TO: Final = {"results_url": "/v1/messages/batches/{message_batch_id}/results"}
"""Addresses that answers lead to."""


class Route(NamedTuple):
    """Be one line: what an SDK asks."""

    sdk: str
    path: str
    method: str

    @property
    def example(self) -> str:
        """Return a path that could be asked."""
        return re.sub(r"\{\w+\}", "abc123", self.path)


def sdk_routes() -> list[Route]:
    """Return every route of the three, each once, in order."""
    found = {*_generated("openai", "/v1"), *_generated("anthropic", ""), *_gemini(), *_gemini_next()}
    found |= {Route(sdk, path, "GET") for sdk, path in _SOCKETS}
    return sorted(found)


def _trees(package: str, pattern: str) -> Iterator[tuple[str, ast.Module]]:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    for path in sorted(root.glob(pattern)):
        text = re.split(r"\n(?:@\w+\n)*class Async", path.read_text())[0]  # what follows asks the same
        yield path.stem, ast.parse(text)


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, node


def _generated(sdk: str, root: str) -> Iterator[Route]:
    """Read the resources of OpenAI's or Anthropic's SDK."""
    for _, tree in _trees(sdk, "resources/**/*.py"):
        for name, call in _calls(tree):
            if name in _VERBS:
                method = next((_text(each.value).upper() for each in call.keywords if each.arg == "method"), "")
                path = _text(call.args[0]).partition("?")[0]
                yield Route(sdk, root + path, method or _VERBS[name])


def _text(node: ast.expr) -> str:
    """Return a text as it is written, or the template that is filled."""
    if isinstance(node, ast.Call):
        return _text(node.args[0])
    if isinstance(node, ast.Attribute):
        return _LED_TO[node.attr]
    assert isinstance(node, ast.Constant), ast.unparse(node)
    assert isinstance(node.value, str)
    return node.value


def _gemini() -> Iterator[Route]:
    """Read the modules of Google's SDK, in its mode for the Gemini API."""
    for module, tree in _trees("google.genai", "[a-z]*.py"):  # the others carry what these ask
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            asked = [
                call for name, call in _calls(function) if name in ("request", "request_streamed", "download_file")
            ]
            paths = set(_paths(function.body))
            for call in asked:
                if call.args and paths:
                    yield from (_gemini_route(module, path, call) for path in paths)


def _paths(body: list[ast.stmt]) -> Iterator[str]:
    """Return what is assigned to `path`, without what is for Vertex alone."""
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "path":
            path = _template(node.value)
            if path:
                yield path
        elif isinstance(node, ast.If):
            test = ast.unparse(node.test)
            if not test.endswith("_api_client.vertexai"):
                yield from _paths(node.body)
            if test != "not self._api_client.vertexai":
                yield from _paths(node.orelse)


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "{name}" for each in node.values)
    return ""


def _gemini_route(module: str, path: str, call: ast.Call) -> Route:
    for name, collection in _GEMINI_NAMES.get(module, {}).items():
        path = re.sub(rf"^(upload/v1beta/)?\{{{name}\}}", lambda found, to=collection: (found[1] or "") + to, path)
    path = path.partition("?")[0]
    method = "GET" if isinstance(call.func, ast.Attribute) and call.func.attr == "download_file" else ""
    root = "/" if path.startswith("upload/") else f"/{_GEMINI_VERSION}/"
    return Route("google-genai", root + path, method or _text(call.args[0]).upper())


def _gemini_next() -> Iterator[Route]:
    """Read the part of Google's SDK that is generated from a description."""
    for _, tree in _trees("google.genai", "_gaos/*.py"):
        for _, call in _calls(tree):
            given = {each.arg: each.value for each in call.keywords}
            if "path" in given and "method" in given and isinstance(given["path"], ast.Constant):
                path = _text(given["path"]).replace("{api_version}", _GEMINI_VERSION)
                yield Route("google-genai", path, _text(given["method"]))
