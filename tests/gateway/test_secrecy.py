"""Prompts, answers and secrets stay out of logs, errors, records, metrics and the spool."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar

CANARY = "canary-4711-in-the-coal-mine"
SECRET = "sk-provider-canary-7f3a"
PATHS = {"remote/gpt-4o-mini": "/v1/chat/completions", "claude/claude-haiku-4-5": "/v1/messages"}


def ask(house: LocalBursar, key: str, model: str, text: str, **fields: Any) -> httpx.Response:
    body = {"model": model, "max_tokens": 40, "messages": [{"role": "user", "content": f"{CANARY} {text}"}]} | fields
    path = PATHS.get(model, "/v1/chat/completions")
    return httpx.post(house.url + path, json=body, headers={"authorization": f"Bearer {key}"}, timeout=30)


def ask_gemini(house: LocalBursar, key: str, method: str, contents: Any, **fields: Any) -> httpx.Response:
    url = f"{house.url}/v1beta/models/gemini/gemini-2.5-flash:{method}"
    return httpx.post(url, json={"contents": contents} | fields, params={"key": key}, timeout=30)


def texts_of(local: LocalBursar) -> str:
    """Return every row of every table as text."""
    tables = local.query(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables"
        " where schemaname not in ('pg_catalog', 'information_schema')"
    )
    rows = (local.query(f"select to_jsonb(each)::text as row from {table['name']} as each") for table in tables)
    return "\n".join(row["row"] for table in rows for row in table)


def files_of(local: LocalBursar) -> dict[Path, bytes]:
    """Return the log, the spool and whatever else the gateway writes outside its database."""
    files = [path for path in local.data.rglob("*") if path.is_file() and "postgres" not in path.parts]
    return {path: path.read_bytes() for path in files if path.name != "bursar.toml"}


@pytest.fixture(scope="module")
def disturbed(house: LocalBursar, provider: Any) -> list[httpx.Response]:
    """Make calls that carry a canary and go wrong in every way; return their answers."""
    key = house.create_key("canary", "10.00")
    answers: list[httpx.Response] = []
    for model in PATHS:
        for fault in ("", "429", "500", "cut", "malformed", "silent", "stall"):
            text = f"[[output=5 fault={fault}]]"
            answers += [ask(house, key, model, text, stream=stream) for stream in (False, True)]
    hostile: list[dict[str, Any]] = [
        {"messages": CANARY},
        {"max_tokens": CANARY},
        {"stream": CANARY},
        {"n": CANARY},
        {"tools": CANARY},
        {"messages": [{"role": CANARY, "content": {"text": CANARY}}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": [CANARY]}]}]},
    ]
    answers += [ask(house, key, "remote/gpt-4o-mini", "hi", **fields) for fields in hostile]
    for fault in ("", "429", "500", "cut", "malformed", "silent"):
        parts = {"parts": {"text": f"{CANARY} [[output=5 fault={fault}]]"}}
        answers += [ask_gemini(house, key, method, parts) for method in ("generateContent", "streamGenerateContent")]
    hostile = [{"tools": {CANARY: {}}}, {"generationConfig": {"maxOutputTokens": CANARY}}, {"serviceTier": [CANARY]}]
    answers += [ask_gemini(house, key, "generateContent", [], **fields) for fields in hostile]
    answers += [ask_gemini(house, key, method, CANARY) for method in ("generateContent", "countTokens")]
    provider.say("gpt-4o-mini", "200 OK", b'{"choices": "' + CANARY.encode() + b'"}')
    answers.append(ask(house, key, "scripted/gpt-4o-mini", "hi"))
    provider.say("gpt-4o-mini", "401 Unauthorized", b'{"error": "bad key ' + SECRET.encode() + b'"}')
    answers.append(ask(house, key, "scripted/gpt-4o-mini", "hi"))
    provider.answers["gpt-4o-mini"] = [b"HTTP/1.1 200 OK\r\n" + CANARY.encode() + b"\r\n\r\n", b""]
    answers.append(ask(house, key, "scripted/gpt-4o-mini", "hi"))
    return answers


def test_no_error_repeats_the_prompt_or_a_secret(disturbed: list[httpx.Response]) -> None:
    assert len(disturbed) > 30
    for answer in disturbed:
        assert SECRET not in answer.text
        assert SECRET not in str(answer.headers)
        assert CANARY not in answer.text
        assert CANARY not in str(answer.headers)


def test_the_database_holds_neither_prompt_nor_secret(house: LocalBursar, disturbed: list[httpx.Response]) -> None:
    names = [answer.headers["x-bursar-call-id"] for answer in disturbed if answer.status_code == 200]
    house.wait_journaled(len(names))
    texts = texts_of(house)
    assert "key_" in texts
    assert CANARY not in texts
    assert SECRET not in texts


def test_logs_and_spool_hold_neither_prompt_nor_secret(house: LocalBursar, disturbed: list[httpx.Response]) -> None:
    files = files_of(house)
    assert any("spool" in path.parts for path in files)
    assert any(path.name == "up.log" for path in files)
    for path, content in files.items():
        assert CANARY.encode() not in content, path
        assert SECRET.encode() not in content, path


def test_no_file_of_the_database_holds_prompt_or_secret(house: LocalBursar, disturbed: list[httpx.Response]) -> None:
    wrote_keys = False
    for path in (house.data / "postgres").rglob("*"):  # its log of changes holds every row as it was written
        content = path.read_bytes() if path.is_file() else b""
        wrote_keys = wrote_keys or b"key_" in content
        assert CANARY.encode() not in content, path
        assert SECRET.encode() not in content, path
    assert wrote_keys


def test_pages_and_metrics_hold_neither_prompt_nor_secret(house: LocalBursar, disturbed: list[httpx.Response]) -> None:
    reads = ("overview", "calls", "statement", "budgets", "keys", "alerts", "runs", "audit", "openapi.json")
    for path in ("/", "/metrics", *(f"/api/{each}" for each in reads)):
        text = httpx.get(house.url + path).text
        assert CANARY not in text
        assert SECRET not in text


def test_a_key_in_a_query_is_written_nowhere_and_sent_to_no_provider(
    house: LocalBursar, house_key: str, provider: Any
) -> None:
    provider.say("gemini-2.0-flash", "200 OK", b'{"candidates":[],"usageMetadata":{"promptTokenCount":1}}')
    for key, status in ((house_key, 200), ("bk_query-canary", 401)):
        for method in ("generateContent", "countTokens"):
            url = f"{house.url}/v1beta/models/scripted-gemini/gemini-2.0-flash:{method}"
            answer = httpx.post(url, json={"contents": []}, params={"key": key})
            assert (answer.status_code, key in answer.text) == (status, False)
        assert all(key.encode() not in sent for sent in provider.requests)
        assert key not in texts_of(house)
        assert key.encode() not in b"".join(files_of(house).values())


def test_a_clients_key_is_stored_hashed_and_never_sent_to_a_provider(
    house: LocalBursar, house_key: str, provider: Any
) -> None:
    provider.say("gpt-4o-mini", "200 OK", b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}')
    headers = {
        "authorization": f"Bearer {house_key}",
        "cookie": "session=client-cookie",
        "x-forwarded-for": "10.1.2.3",
        "x-bursar-run": "run-canary",
        "openai-organization": "org-client",
        "openai-beta": "assistants=v2",
    }
    body = {"model": "scripted/gpt-4o-mini", "messages": []}
    assert httpx.post(house.url + "/v1/chat/completions", json=body, headers=headers).status_code == 200
    sent = provider.requests[-1]
    assert f"authorization: Bearer {SECRET}".encode() in sent
    assert b"openai-beta: assistants=v2" in sent
    for word in (house_key, "client-cookie", "10.1.2.3", "run-canary", "org-client"):
        assert word.encode() not in sent
    assert house_key not in texts_of(house)
    assert house_key.encode() not in b"".join(files_of(house).values())
