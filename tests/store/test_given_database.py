"""The same code runs on a server of the user's own, given by its address."""

import json
import urllib.request

from bench.harness import LocalBursar


def test_a_given_database_is_used_and_none_is_started(database_url: str) -> None:
    local = LocalBursar()
    local.environment["BURSAR_DATABASE_URL"] = database_url
    local.start()
    try:
        key = local.create_key("app", "1.00")
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        request = urllib.request.Request(
            f"{local.url}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            name = answer.headers["x-bursar-call-id"]
        local.wait_journaled(1)
        assert [f"call_{row['call_id'].hex()}" for row in local.query("select call_id from calls")] == [name]
        assert local.audit().findings == []
        assert not (local.data / "postgres").exists()
    finally:
        code = local.stop()
    assert code == 0, local.last_words()
    assert local.query("select closed_us is not null as closed from gateways") == [{"closed": True}]
    local.remove()
