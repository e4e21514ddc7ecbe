"""How a prompt begins, as a digest: the same as a conversation goes on, another for another."""

from typing import Any

import msgspec
import pytest

from bursar.wires.prefix import prefix_digest


def digest(**fields: Any) -> bytes:
    return prefix_digest(msgspec.json.encode({"model": "m"} | fields))


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


CHAT = [turn("system", "you are a clerk"), turn("user", "hello")]
TOOLS = [{"type": "function", "function": {"name": "add"}}]


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({"messages": CHAT}, {"messages": [*CHAT, turn("assistant", "hi"), turn("user", "and?")], "temperature": 1}),
        ({"system": "s", "messages": CHAT[1:]}, {"messages": [*CHAT[1:], turn("assistant", "hi")], "system": "s"}),
        ({"input": [turn("user", "a")]}, {"input": [turn("user", "a"), turn("assistant", "b"), turn("user", "c")]}),
        ({"contents": [turn("user", "a")]}, {"contents": [turn("user", "a"), turn("model", "b")]}),
    ],
)
def test_it_stays_the_same_as_a_conversation_goes_on(first: dict[str, Any], later: dict[str, Any]) -> None:
    assert digest(**first) == digest(**later)


def test_every_part_a_prompt_begins_with_counts() -> None:
    base = {"messages": CHAT, "tools": TOOLS, "system": "s", "instructions": "i", "systemInstruction": "g"}
    changes: list[dict[str, Any]] = [
        {"messages": [CHAT[0], turn("user", "good bye")]},
        {"messages": [turn("system", "you are a cook"), CHAT[1]]},
        {"tools": []},
        {"system": "another"},
        {"instructions": "another"},
        {"systemInstruction": "another"},
        {"input": "text"},
        {"contents": [turn("user", "x")]},
    ]
    digests = [digest(**base | change) for change in [{}, *changes]]
    assert len(set(digests)) == len(digests)


def test_no_more_than_the_beginning_of_each_part_is_read() -> None:
    long = "x" * 10_000
    assert digest(system=long + "a", messages=CHAT) == digest(system=long + "b", messages=CHAT)


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b'{"messages":', b'{"messages":[1,2]}', b"\xff", b"[" * 9_999])
def test_a_body_that_is_none_has_a_digest_too(body: bytes) -> None:
    assert len(prefix_digest(body)) == 16
