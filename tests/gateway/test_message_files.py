"""Anthropic's files: each its key's own, named in messages in place of what it holds, which is held for and charged."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx
import pytest

from bench.harness import LocalBursar, bursar
from bursar.core.errors import BadRequest, Unmetered
from bursar.core.usage import Usage
from bursar.wires.kept_files import FILES_MAX, files_in_messages
from bursar.wires.wire import NamedFile, hides_letters
from tests.gateway.conftest import find_call

MODEL = "claude-haiku-4-5"
TEXT = b"The invoice is due on the first of March. " * 400
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@contextmanager
def client_of(local: LocalBursar, key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=local.url, api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def mine(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> Iterator[anthropic.Anthropic]:
    with client_of(shared_bursar, new_key("1.00")) as client:
        yield client


@pytest.fixture
def others(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> Iterator[anthropic.Anthropic]:
    with client_of(shared_bursar, new_key("1.00")) as client:
        yield client


def upload(client: anthropic.Anthropic, content: bytes = TEXT, name: str = "a.txt", kind: str = "text/plain") -> str:
    return client.beta.files.upload(file=(name, content, kind)).id


def block(file_id: str, kind: str = "document", **more: Any) -> dict[str, Any]:
    return {"type": kind, "source": {"type": "file", "file_id": file_id}, **more}


def ask(client: anthropic.Anthropic, *blocks: Any, model: str = MODEL, most_nano: int | None = None) -> Any:
    content: Any = [*blocks, {"type": "text", "text": "[[output=5]]"}]
    headers = {} if most_nano is None else {"x-bursar-max-cost-usd": f"{most_nano / 1e9:.9f}"}
    messages: Any = [{"role": "user", "content": content}]
    return client.beta.messages.with_raw_response.create(
        model=model, max_tokens=20, messages=messages, betas=["files-api-2025-04-14"], extra_headers=headers
    )


def test_a_file_is_kept_shown_listed_and_deleted(mine: anthropic.Anthropic) -> None:
    made = mine.beta.files.upload(file=("a.txt", TEXT, "text/plain"))
    assert (made.size_bytes, made.mime_type, made.filename) == (len(TEXT), "text/plain", "a.txt")
    assert mine.beta.files.retrieve_metadata(made.id) == made
    with pytest.raises(anthropic.BadRequestError, match="not downloadable"):
        mine.beta.files.download(made.id)
    of_a_tool = upload(mine, b"x,y\n1,2\n", "made.csv", "text/csv")
    assert mine.beta.files.download(of_a_tool).read() == b"x,y\n1,2\n"
    assert [each.id for each in mine.beta.files.list()] == [of_a_tool, made.id]
    assert mine.beta.files.delete(made.id).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError, match="File not found"):
        mine.beta.files.retrieve_metadata(made.id)
    assert [each.id for each in mine.beta.files.list()] == [of_a_tool]


def test_a_list_goes_on_by_cursor_and_by_either_end(mine: anthropic.Anthropic, others: anthropic.Anthropic) -> None:
    theirs = upload(others)
    ids = [upload(mine, b"%d" % number) for number in range(5)][::-1]
    assert [each.id for each in mine.beta.files.list(limit=2)] == ids
    assert {each.id for each in mine.beta.files.list(ids=[ids[1], theirs, ids[3]])} == {ids[1], ids[3]}

    def page(**query: str) -> list[str]:
        answer: Any = mine.get("/v1/files", cast_to=object, options={"params": {"limit": "2", **query}})
        shown = [each["id"] for each in answer["data"]]
        assert (answer["first_id"], answer["last_id"]) == ((shown[0], shown[-1]) if shown else (None, None))
        return [*shown, "more"] if answer["has_more"] else shown

    assert page(after_id=ids[1]) == [*ids[2:4], "more"]
    assert page(after_id=ids[3]) == [ids[4]]
    assert page(before_id=ids[4]) == [*ids[2:4], "more"]
    assert page(before_id=ids[2]) == ids[:2]
    for wrong in ({"after_id": ids[0], "before_id": ids[1]}, {"page": ids[0]}, {"limit": "0"}, {"scope_id": "s"}):
        with pytest.raises(anthropic.BadRequestError):
            page(**wrong)


def test_no_key_sees_or_uses_anothers_file(mine: anthropic.Anthropic, others: anthropic.Anthropic) -> None:
    theirs = upload(others)
    for attempt in (mine.beta.files.retrieve_metadata, mine.beta.files.download, mine.beta.files.delete):
        with pytest.raises(anthropic.NotFoundError, match="File not found"):
            attempt(theirs)
    assert list(mine.beta.files.list()) == []
    for use in (ask, count):
        with pytest.raises(anthropic.NotFoundError, match=r"in `messages\.0\.content\.0\.source\.file_id`"):
            use(mine, block(theirs))
    ask(others, block(theirs))


def count(client: anthropic.Anthropic, *blocks: Any) -> int:
    messages: Any = [{"role": "user", "content": list(blocks)}]
    return client.beta.messages.count_tokens(model=MODEL, messages=messages).input_tokens


def test_a_message_is_charged_for_what_its_files_hold_and_held_for_no_more_than_their_bytes(
    shared_bursar: LocalBursar, mine: anthropic.Anthropic, price_of: Callable[[str, Usage], int]
) -> None:
    file_id = upload(mine)
    answer = ask(mine, block(file_id))
    usage = answer.parse().usage
    assert usage.input_tokens > len(TEXT) // 4
    assert usage.input_tokens == count(mine, block(file_id), {"type": "text", "text": "[[output=5]]"})
    record = find_call(shared_bursar, answer.headers["x-bursar-call-id"])
    assert record["cost_nano"] == price_of(MODEL, Usage(usage.input_tokens, output_tokens=5))
    most = price_of(MODEL, Usage(len(TEXT) + 1_000, output_tokens=20))
    assert most < price_of(MODEL, Usage(200_000))  # what a document takes that nothing but the window bounds
    ask(mine, block(file_id), most_nano=most)
    pdf = upload(mine, b"%PDF-", "a.pdf", "application/pdf")
    for dear in (block(file_id, citations={"enabled": True}), block(pdf)):
        with pytest.raises(anthropic.APIStatusError, match="max_cost_exceeded"):
            ask(mine, dear, most_nano=most)
    ask(mine, block(upload(mine, PNG, "a.png", "image/png"), "image"))
    within = {"type": "tool_result", "tool_use_id": "t", "content": [block(file_id)]}
    assert ask(mine, within).parse().usage.input_tokens > len(TEXT) // 4
    assert shared_bursar.audit().findings == []


def test_a_budget_that_has_no_room_for_a_files_bytes_refuses_the_call(
    shared_bursar: LocalBursar, new_key: Callable[..., str]
) -> None:
    with client_of(shared_bursar, new_key("0.01")) as client:
        file_id = upload(client)
        ask(client)
        with pytest.raises(anthropic.APIStatusError, match="budget_exhausted") as caught:
            ask(client, block(file_id))
    assert caught.value.status_code == 402
    assert shared_bursar.audit().findings == []


def test_a_batch_that_names_a_file_is_refused_with_the_way_out(mine: anthropic.Anthropic) -> None:
    messages = [{"role": "user", "content": [block(upload(mine))]}]
    request: Any = {"custom_id": "a", "params": {"model": MODEL, "max_tokens": 20, "messages": messages}}
    with pytest.raises(anthropic.BadRequestError, match="send inline what it holds"):
        mine.messages.batches.create(requests=[request])


def test_a_key_of_other_routes_keeps_no_files(shared_bursar: LocalBursar, new_key: Callable[..., str]) -> None:
    chats, messages = (new_key(routes=(route,)) for route in ("/v1/chat/completions", "/v1/messages"))
    with client_of(shared_bursar, chats) as client, pytest.raises(anthropic.PermissionDeniedError, match="keep files"):
        client.beta.files.list()
    with client_of(shared_bursar, messages) as client:
        assert list(client.beta.files.list()) == []


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"file": ("a", b"x"), "purpose": (None, b"batch")}, "expected only file, expires_in_seconds"),
        ({"expires_in_seconds": (None, b"3600")}, "one file in the form's field `file`"),
    ],
)
def test_a_form_that_is_no_file_is_refused(mine: anthropic.Anthropic, form: Any, said: str) -> None:
    options: Any = {"headers": {"content-type": "multipart/form-data"}}
    with pytest.raises(anthropic.BadRequestError, match=said):
        mine.post("/v1/files", cast_to=object, files=form, options=options)


TWO = """
[providers.near]
kind = "sandbox"

[providers.far]
kind = "sandbox"

[models."near"]
targets = ["near/claude-haiku-4-5"]

[models."far"]
targets = ["far/claude-haiku-4-5"]

[models."either"]
targets = ["far/claude-haiku-4-5", "near/claude-haiku-4-5"]
fallbacks = ["far"]

[models."translated"]
targets = ["near/gpt-4o-mini"]
"""


def test_a_call_goes_to_the_provider_that_keeps_its_files_or_nowhere() -> None:
    with bursar(TWO) as local, client_of(local, local.create_key("files", "1.00")) as client:
        file_id = upload(client)
        for model in ("near", "either"):
            assert ask(client, block(file_id), model=model).headers["x-bursar-model"].startswith("near/")
        for model in ("far", "far/claude-haiku-4-5"):
            with pytest.raises(anthropic.BadRequestError, match=r"are kept by near, and '.*' is not answered there"):
                ask(client, block(file_id), model=model)
        assert local.audit().findings == []


def files_in(*blocks: Any) -> tuple[NamedFile, ...]:
    body = anthropic_body(*blocks)
    return files_in_messages(body, escaped=hides_letters(body))


def anthropic_body(*blocks: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": list(blocks)}]}).encode()


def test_files_are_found_wherever_they_stand() -> None:
    param = "messages.0.content.0.source.file_id"
    assert files_in(block("f")) == (NamedFile(param, "f", is_plain=True),)
    assert files_in(block("f", "image")) == (NamedFile(param, "f"),)
    assert files_in({"type": "tool_use", "input": block("f")}, {"type": "text", "text": '"file_id"'}) == ()
    (nested,) = files_in({"type": "tool_result", "content": [block("f")]})
    assert nested.param == "messages.0.content.0.content.0.source.file_id"
    hidden = anthropic_body(block("f")).replace(b"file_id", b"fil\\u0065_id").replace(b'"file"', b'"\\u0066ile"')
    assert b"file_id" not in hidden
    assert [each.file_id for each in files_in_messages(hidden, escaped=hides_letters(hidden))] == ["f"]
    for odd in ({"type": "x", "content": {"y": block("f")}}, block(""), {"source": {"type": "file", "file_id": 7}}):
        with pytest.raises(BadRequest, match="expected the id of a file"):
            files_in(odd)
    with pytest.raises(Unmetered):
        files_in({"type": "container_upload", "file_id": "f"})
    with pytest.raises(BadRequest, match=f"at most {FILES_MAX}"):
        files_in(*[block("f")] * (FILES_MAX + 1))


def test_a_name_given_twice_leads_to_the_file_that_was_looked_up(
    mine: anthropic.Anthropic, others: anthropic.Anthropic
) -> None:
    own, theirs = upload(mine, b"mine" * 4), upload(others)
    body = anthropic_body(block(own), {"type": "text", "text": "[[output=1]]"})
    twice = body.replace(b'"file_id"', b'"file_id": "%b", "file_id"' % theirs.encode())
    twice = twice.replace(b'"model": "m"', b'"max_tokens": 9, "model": "%b"' % MODEL.encode())
    headers = {"x-api-key": mine.api_key or "", "anthropic-version": "2023-06-01"}
    answer = httpx.post(f"{str(mine.base_url).rstrip('/')}/v1/messages", content=twice, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["input_tokens"] < 40
