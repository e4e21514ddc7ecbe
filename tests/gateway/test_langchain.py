"""LangChain's models get answers, streams and tool calls from providers of every protocol."""

from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI

from bench.harness import LocalBursar
from tests.gateway.test_translation import MODELS


@pytest.fixture(scope="module")
def secret(translating: LocalBursar) -> str:
    return translating.create_key("langchain", "100.00")


def model_of(client: str, url: str, key: str, name: str) -> BaseChatModel:
    """Return one of LangChain's models, set to the gateway."""
    options: dict[str, Any] = {"model": name, "api_key": key, "max_retries": 0}
    if client == "anthropic":
        return ChatAnthropic(**options, base_url=url, max_tokens=100)
    if client == "google":
        return ChatGoogleGenerativeAI(**options, base_url=url, max_output_tokens=100)
    return ChatOpenAI(**options, base_url=f"{url}/v1", max_tokens=100, use_responses_api=client == "responses")


@pytest.fixture(params=["chat", "responses", "anthropic", "google"])
def client(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("name", MODELS)
def test_langchain_is_answered_in_one_piece_and_as_a_stream(
    translating: LocalBursar, secret: str, client: str, name: str
) -> None:
    model = model_of(client, translating.url, secret, name)
    whole = model.invoke("[[output=6]] hello")
    assert len(str(whole.text)) == 4 * 6
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 6
    chunks = list(model.stream("[[output=6]] hello"))
    assert "".join(str(chunk.text) for chunk in chunks) == str(whole.text)
    assert len(chunks) > 2


@tool
def weather(place: str) -> str:
    """Tell the weather of a place."""
    return f"sunny in {place}"


@pytest.mark.parametrize("name", MODELS)
def test_langchain_has_its_tools_called(translating: LocalBursar, secret: str, client: str, name: str) -> None:
    model = model_of(client, translating.url, secret, name).bind_tools([weather])
    told = model.invoke("[[tool=weather]] How is it in Paris?")
    assert [(call["name"], call["args"]) for call in told.tool_calls] == [("weather", {"place": "Paris"})]
