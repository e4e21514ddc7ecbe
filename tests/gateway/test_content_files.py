"""Gemini's files: uploaded piece by piece through the gateway, each its key's own, named in contents and charged."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from bench.harness import LocalBursar, bursar
from bursar.core.errors import BadRequest
from bursar.core.usage import Usage
from bursar.gateway.batches.own_files import plain_kind
from bursar.gateway.identify import new_pass
from bursar.tokens.bounds import image_tokens_max
from bursar.wires.kept_files import files_in_contents
from tests.gateway.conftest import ScriptedProvider, find_call

MODEL = "gemini-2.5-flash"
TEXT = b"The invoice is due on the first of March. " * 400
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
HOST = "https://generativelanguage.googleapis.com"


@contextmanager
def client_of(local: LocalBursar, key: str) -> Iterator[genai.Client]:
    with genai.Client(api_key=key, http_options={"base_url": local.url}) as client:
        yield client


@pytest.fixture
def mine(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> Iterator[genai.Client]:
    with client_of(shared_bursar, new_key("10.00")) as client:
        yield client


@pytest.fixture
def others(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> Iterator[genai.Client]:
    with client_of(shared_bursar, new_key("10.00")) as client:
        yield client


def upload(client: genai.Client, content: bytes = TEXT, kind: str = "text/plain") -> types.File:
    config: Any = {"mime_type": kind, "display_name": "a file"}
    return client.files.upload(file=io.BytesIO(content), config=config)


def ask(client: genai.Client, *files: types.File, most_nano: int | None = None) -> types.GenerateContentResponse:
    headers = {} if most_nano is None else {"x-bursar-max-cost-usd": f"{most_nano / 1e9:.9f}"}
    config: Any = {"max_output_tokens": 20, "http_options": {"headers": headers}}
    contents: Any = [*files, "[[output=5]]"]
    return client.models.generate_content(model=MODEL, contents=contents, config=config)


def test_a_file_is_kept_shown_listed_and_deleted(mine: genai.Client, others: genai.Client) -> None:
    made = upload(mine)
    assert (made.size_bytes, made.mime_type, made.display_name) == (len(TEXT), "text/plain", "a file")
    assert mine.files.get(name=made.name or "").uri == made.uri
    more = [upload(mine, b"%d" % number) for number in range(3)]
    listed = [each.name for each in mine.files.list(config={"page_size": 2})]
    assert listed == [each.name for each in [*more[::-1], made]]
    for attempt in (others.files.get, others.files.delete):
        with pytest.raises(errors.ClientError, match="There is no file"):
            attempt(name=made.name or "")
    assert list(others.files.list()) == []
    mine.files.delete(name=made.name or "")
    with pytest.raises(errors.ClientError, match="There is no file"):
        mine.files.get(name=made.name or "")


def test_a_file_larger_than_a_piece_comes_in_several(
    shared_bursar: LocalBursar, mine: genai.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.genai._api_client.CHUNK_SIZE", 256 * 1024)
    content = b"0123456789abcdef" * 50_000
    made = upload(mine, content)
    assert made.size_bytes == len(content)
    rows = shared_bursar.query("select bytes, media_type from files where file_id = $1", (made.name or "")[6:])
    assert [(row["bytes"], row["media_type"]) for row in rows] == [(len(content), "")]  # nobody has seen it whole
    assert shared_bursar.query("select * from uploads") == []


def test_contents_are_charged_for_what_their_files_hold_and_held_for_what_that_can_take(
    shared_bursar: LocalBursar, mine: genai.Client, price_of: Callable[[str, Usage], int]
) -> None:
    file, image, film = upload(mine), upload(mine, PNG, "image/png"), upload(mine, b"\0film", "video/mp4")
    answer = ask(mine, file, most_nano=(most := price_of(MODEL, Usage(len(TEXT) + 1_000, output_tokens=20))))
    usage = answer.usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count or 0) > len(TEXT) // 4
    headers = answer.sdk_http_response.headers if answer.sdk_http_response is not None else None
    record = find_call(shared_bursar, (headers or {})["x-bursar-call-id"])
    assert record["cost_nano"] == price_of(MODEL, Usage(usage.prompt_token_count or 0, output_tokens=5))
    ask(mine, image, most_nano=4 * price_of(MODEL, Usage(image_tokens_max(MODEL) + 1_000, output_tokens=20)))
    with pytest.raises(errors.ClientError, match="x-bursar-max-cost-usd"):
        ask(mine, film, most_nano=most)
    ask(mine, film)
    assert (mine.models.count_tokens(model=MODEL, contents=[file]).total_tokens or 0) == len(TEXT) // 4
    assert shared_bursar.audit().findings == []


def test_no_key_uses_anothers_file(mine: genai.Client, others: genai.Client) -> None:
    theirs = upload(others)
    with pytest.raises(errors.ClientError, match="File not found") as caught:
        ask(mine, theirs)
    assert caught.value.code == 404
    with pytest.raises(errors.ClientError, match="File not found"):
        mine.models.count_tokens(model=MODEL, contents=[theirs])
    src: Any = [{"contents": [{"parts": [{"file_data": {"file_uri": theirs.uri}}]}]}]
    with pytest.raises(errors.ClientError, match="cannot name a kept file"):
        others.batches.create(model=MODEL, src=src)
    ask(others, theirs)


def begin(local: LocalBursar, key: str, **changed: str) -> httpx.Response:
    headers = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start", "x-goog-api-key": key}
    headers |= {"x-goog-upload-header-content-length": "4", "x-goog-upload-header-content-type": "text/plain"}
    about = json.loads(changed.pop("about", "{}"))
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    return httpx.post(f"{local.url}/upload/v1beta/files", headers=headers, json={"file": about})


def go_on(url: str, piece: bytes, command: str = "upload, finalize", offset: str = "0") -> httpx.Response:
    headers = {"x-goog-upload-command": command, "x-goog-upload-offset": offset}
    return httpx.post(url, headers=headers, content=piece)


def test_an_upload_goes_on_at_the_gateway_alone_and_its_address_opens_nothing_else(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    key = new_key("1.00")
    url = begin(shared_bursar, key).headers["x-goog-upload-url"]
    assert url.startswith(f"{shared_bursar.url}/upload/v1beta/files?upload_id=")
    assert key not in url
    text = url.partition("upload_id=")[2].partition("&")[0]
    for way in ({"authorization": f"Bearer {text}"}, {"x-goog-api-key": text}):
        assert httpx.get(f"{shared_bursar.url}/v1beta/files", headers=way).status_code == 401
    assert httpx.get(f"{shared_bursar.url}/v1beta/files?upload_id={text}").status_code == 401
    assert go_on(url.replace(text[:8], "00000000"), b"abcd").status_code == 401
    assert go_on(f"{url}&key={text}".replace(text, "a.b", 1), b"abcd").status_code == 401
    made_up = new_pass(key)[1]
    assert go_on(url.replace(text, made_up), b"abcd").json()["error"]["code"] == 404
    assert go_on(url, b"ab", "upload").headers["x-goog-upload-status"] == "active"
    assert go_on(url, b"cd", offset="7").status_code == 400
    assert go_on(url, b"cd", offset="2").headers["x-goog-upload-status"] == "final"
    assert go_on(url, b"cd").status_code == 404
    rows = shared_bursar.query("select media_type from files order by created_us desc limit 1")
    assert rows[0]["media_type"] == ""  # of two pieces, so that nobody has seen it whole


def test_a_text_is_held_for_by_what_came_and_not_by_the_size_its_client_told(
    provider: ScriptedProvider,
) -> None:
    config = f"""
[providers.scripted]
kind = "gemini"
base_url = "{provider.url.removesuffix("/v1")}/v1beta"
prices = "google"
"""
    begun = b"HTTP/1.1 200 OK\r\nx-goog-upload-url: http://elsewhere/go-on?x=1\r\ncontent-length: 2\r\n\r\n{}"
    made = b'{"file":{"name":"files/short"}}'
    ended = b"HTTP/1.1 200 OK\r\nx-goog-upload-status: final\r\ncontent-length: %d\r\n\r\n" % len(made) + made
    provider.turns["files"], provider.turns["go-on?x=1"] = [begun], [ended]
    with bursar(config) as local:
        url = begin(local, local.create_key("short", "1.00")).headers["x-goog-upload-url"]
        assert go_on(url, TEXT).json() == {"file": {"name": "files/short"}}
        (row,) = local.query("select bytes, media_type from files")
    assert (row["bytes"], row["media_type"]) == (len(TEXT), "text/plain")
    assert provider.requests[-1].startswith(b"POST /go-on?x=1 HTTP/1.1")


WRONG: list[tuple[dict[str, str], str]] = [
    ({"x_goog_upload_protocol": "multipart"}, "X-Goog-Upload-Protocol"),
    ({"x_goog_upload_header_content_length": "0"}, "X-Goog-Upload-Header-Content-Length"),
    ({"x_goog_upload_header_content_length": "x"}, "X-Goog-Upload-Header-Content-Length"),
    ({"x_goog_upload_header_content_type": "a b"}, "X-Goog-Upload-Header-Content-Type"),
    ({"about": '{"name": "files/theirs"}'}, "leave `file.name` out"),
    ({"about": '{"other": 1}'}, "expected displayName"),
    ({"host": "a/b?c"}, "Host"),
]


@pytest.mark.parametrize(("changed", "said"), WRONG)
def test_an_upload_that_cannot_be_is_refused_before_it_begins(
    shared_bursar: LocalBursar, new_key: Callable[..., str], changed: dict[str, str], said: str
) -> None:
    answer = begin(shared_bursar, new_key(), **changed)
    assert (answer.status_code, said in answer.text) == (400, True), answer.text


def test_an_upload_is_gone_on_with_by_another_gateway_and_ends_with_its_key() -> None:
    with bursar(workers=2) as local:
        key = local.create_key("uploads", "1.00")
        urls = [begin(local, key).headers["x-goog-upload-url"] for _ in range(6)]
        assert {go_on(url, b"abcd").status_code for url in urls[:5]} == {200}
        local.command("keys", "revoke", "uploads")
        deadline = 50
        while (answer := go_on(urls[5], b"ab", "upload", "0")).status_code != 401 and deadline:
            deadline -= 1
        assert answer.status_code == 401


@pytest.mark.parametrize("uri", [f"{HOST}/v1beta/files/theirs", f"{HOST}:443/v1beta/files/theirs"])
def test_another_protocol_leads_to_no_kept_file(house: LocalBursar, house_key: str, uri: str) -> None:
    content = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": uri}}]
    body = {"model": "gemini", "max_tokens": 5, "messages": [{"role": "user", "content": content}]}
    headers = {"authorization": f"Bearer {house_key}"}
    answer = httpx.post(f"{house.url}/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 400
    assert "file" in answer.json()["error"]["message"]


def files_in(uri: object, **more: Any) -> list[str]:
    body = {"contents": [{"parts": [{"fileData": {"fileUri": uri, **more}}]}]}
    return [each.file_id for each in files_in_contents(json.dumps(body).encode())]


def test_an_address_is_a_kept_file_anothers_or_refused() -> None:
    assert files_in(f"{HOST}/v1beta/files/abc-1") == files_in("files/abc-1") == ["abc-1"]
    assert files_in("https://www.youtube.com/watch?v=1") == files_in("https://example.com/files/a.pdf") == []
    odd = (7, "abc", f"{HOST}:443/v1beta/files/a", f"{HOST}/v1beta/%66iles/a", f"{HOST}/v1beta//files/a", "")
    for uri in (*odd, "https://GENERATIVElanguage.googleapis.com/v1beta/files/a"):
        with pytest.raises(BadRequest, match="expected the `uri`"):
            files_in(uri)
    with pytest.raises(BadRequest):
        files_in("files/a", file_uri="files/b")
    hidden = b'{"contents":{"parts":{"fil\\u0065D\\u0061ta":{"fileUri":"files\\/a"}}}}'
    assert [each.is_plain for each in files_in_contents(hidden)] == [True]
    odd_place = b'{"contents":{"x":{"fileData":{"fileUri":"files/a"}}}}'
    assert [each.is_plain for each in files_in_contents(odd_place)] == [False]


@pytest.mark.parametrize(
    ("content", "said", "kind"),
    [
        (b"plain", "text/plain", "text/plain"),
        (b"\xff\xfe", "text/plain", ""),
        (b"%PDF-1.4", "text/plain", ""),
        (b"\n\n%PDF-1.4", "image/png", ""),
        (PNG, "image/png", "image/png"),
        (PNG + b"%PDF-1.4", "image/png", ""),
        (b"plain", "image/png", ""),
        (b"", "text/plain", ""),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp", "image/webp"),
        (b"plain", "application/json", ""),
    ],
)
def test_a_kind_is_believed_where_the_first_bytes_bear_it_out(content: bytes, said: str, kind: str) -> None:
    assert plain_kind(content, said) == kind
