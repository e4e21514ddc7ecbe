"""The headers a call brings: what is read, what is refused, what goes on to whom."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import BadRequest, TooLarge
from bursar.gateway.headers import CallHeaders, read_headers, read_tags, returned_headers


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ([(b"authorization", b"Bearer bk_1")], "bk_1"),
        ([(b"authorization", b"bearer   bk_1 ")], "bk_1"),
        ([(b"x-api-key", b"bk_2")], "bk_2"),
        ([(b"authorization", b"Bearer bk_1"), (b"x-api-key", b"bk_2")], "bk_1"),
        ([(b"authorization", b"Basic abc"), (b"x-api-key", b"bk_2")], "bk_2"),
        ([(b"authorization", b"Basic abc")], ""),
        ([(b"authorization", b"Bearer bk_1"), (b"authorization", b"Bearer bk_3")], "bk_3"),
        ([], ""),
    ],
)
def test_the_secret_is_found_where_either_client_puts_it(headers: Any, secret: str) -> None:
    assert read_headers(headers).secret == secret


def test_everything_of_ours_is_read() -> None:
    headers = [
        (b"x-bursar-run", b"run-1"),
        (b"x-bursar-parent", b"run-0/step:2"),
        (b"x-bursar-tags", b"team=blue, feature = search "),
        (b"x-bursar-lane", b"now"),
        (b"x-bursar-max-cost-usd", b"0.10"),
        (b"idempotency-key", b"order 1"),
        (b"content-length", b"12"),
    ]
    read = read_headers(headers)
    assert (read.run, read.parent, read.lane, read.max_cost_usd) == ("run-1", "run-0/step:2", "now", "0.10")
    assert read.tags == {"team": "blue", "feature": "search"}
    assert (read.idempotency_key, read.content_length) == (b"order 1", 12)


def test_a_call_without_headers_of_ours_has_defaults_that_nobody_shares() -> None:
    one, two = read_headers([]), read_headers([])
    one.tags["team"] = "blue"
    assert two == CallHeaders()
    assert two.tags == {}


@pytest.mark.parametrize(
    "text", ["", "a", "a=", "=b", "a=b,,c=d", "a=b;c", "a=b\x00", "a={}", "a=" + "x" * 129, "a=b,"]
)
def test_tags_of_another_shape_are_refused(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_tags(text)
    assert caught.value.param == "x-bursar-tags"


@pytest.mark.parametrize(("count", "fine"), [(16, True), (17, False)])
def test_tags_are_bounded_in_number(count: int, fine: bool) -> None:
    text = ",".join(f"t{number}=1" for number in range(count))
    if fine:
        assert len(read_tags(text)) == count
        return
    with pytest.raises(BadRequest, match="at most 16 tags, got 17"):
        read_tags(text)


WORDS = st.text("abzABZ0189_.:/@+-", min_size=1, max_size=128)


@given(st.dictionaries(WORDS, WORDS, min_size=1, max_size=16))
def test_tags_are_read_as_they_were_written(tags: dict[str, str]) -> None:
    assert read_tags(",".join(f"{name}={value}" for name, value in tags.items())) == tags


@given(st.lists(st.tuples(st.sampled_from([b"x-bursar-tags", b"x-bursar-run", b"x-bursar-lane"]), st.binary())))
def test_no_bytes_break_the_reading(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        read = read_headers(headers)
    except BadRequest:
        return
    assert "\x00" not in read.run + "".join(read.tags) + "".join(read.tags.values())


@pytest.mark.parametrize(("key", "error"), [(b"k" * 256, TooLarge), (b"", BadRequest)])
def test_an_idempotency_key_is_bounded_and_not_empty(key: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_headers([(b"idempotency-key", key)])


def test_only_what_changes_the_meaning_of_a_call_goes_on_to_the_provider() -> None:
    headers = [
        (b"anthropic-version", b"2023-06-01"),
        (b"anthropic-beta", b"context-1m"),
        (b"openai-beta", b"x"),
        (b"cookie", b"c"),
        (b"user-agent", b"sdk"),
        (b"openai-organization", b"org"),
    ]
    read = read_headers(headers)
    assert read.forwarded == b"anthropic-version: 2023-06-01\r\nanthropic-beta: context-1m\r\nopenai-beta: x\r\n"
    assert read.anthropic


def test_only_what_a_client_acts_on_comes_back() -> None:
    given = ["content-type", "retry-after", "x-request-id", "x-ratelimit-limit-requests", "anthropic-ratelimit-reset"]
    dropped = ["set-cookie", "server", "openai-organization", "connection", "content-length", "content-encoding"]
    headers = [(name.encode(), b"1") for name in given + dropped]
    assert [name.decode() for name, _ in returned_headers(headers)] == given
