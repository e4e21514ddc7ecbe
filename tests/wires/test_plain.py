import pytest

from bursar.tokens.bounds import input_tokens_max
from bursar.wires.openai_completions import OPENAI_COMPLETIONS
from bursar.wires.openai_embeddings import OPENAI_EMBEDDINGS
from bursar.wires.openai_images import OPENAI_IMAGES


def test_each_text_may_fill_the_context_of_its_own() -> None:
    texts = ",".join(['"' + "x" * 9_000 + '"'] * 3)
    facts = OPENAI_EMBEDDINGS.facts(b'{"model":"text-embedding-3-small","input":[' + texts.encode() + b"]}")
    assert input_tokens_max(facts, facts.model, 8_192) == 3 * 8_192


@pytest.mark.parametrize("cap", [b"", b',"max_tokens":null', b',"max_tokens":16'])
def test_a_completion_is_always_sent_with_the_cap_it_is_held_for(cap: bytes) -> None:
    body = b'{"model":"m","prompt":"a"' + cap + b"}"
    facts = OPENAI_COMPLETIONS.facts(body)
    assert b'"max_tokens":16' in OPENAI_COMPLETIONS.upstream_body(body, facts, "m", 16, "")


def test_a_completion_that_only_echoes_stays_one() -> None:
    body = b'{"model":"m","prompt":"a","echo":true,"max_tokens":0}'
    assert b'"max_tokens":0' in OPENAI_COMPLETIONS.upstream_body(body, OPENAI_COMPLETIONS.facts(body), "m", 1, "")


def test_a_completion_without_usage_is_measured_by_its_text() -> None:
    assert OPENAI_COMPLETIONS.answer(b'{"choices":[{"text":"0123456789"}]}').output_bytes == 10


@pytest.mark.parametrize(
    ("wire", "rest"),
    [(OPENAI_EMBEDDINGS, b'"input":"a"'), (OPENAI_IMAGES, b'"prompt":"a"'), (OPENAI_COMPLETIONS, b'"n":1')],
)
def test_a_field_given_twice_is_sent_once_as_it_was_read(wire: object, rest: bytes) -> None:
    body = b'{"model":"dear",' + rest + b',"model":"cheap"}'
    sent = wire.upstream_body(body, wire.facts(body), "cheap", 1, "")
    assert sent.count(b'"model"') == 1
    assert b"dear" not in sent


@pytest.mark.parametrize("usage", [b"{}", b'{"total_tokens":500}', b'{"input_tokens":1}', b"null"])
def test_an_image_whose_usage_says_nothing_has_none(usage: bytes) -> None:
    assert OPENAI_IMAGES.answer(b'{"data":[],"usage":' + usage + b"}").usage is None


def test_an_embedding_goes_on_untouched_where_nothing_can_stand_in_it_twice() -> None:
    plain = b'{ "model": "m", "input": "say \\"model\\" and \\"input\\"" }'
    assert OPENAI_EMBEDDINGS.upstream_body(plain, OPENAI_EMBEDDINGS.facts(plain), "m", 1, "") is plain
    hidden = b'{"mod\\u0065l":"dear","model":"m","input":"a"}'
    sent = OPENAI_EMBEDDINGS.upstream_body(hidden, OPENAI_EMBEDDINGS.facts(hidden), "m", 1, "")
    assert b"dear" not in sent
