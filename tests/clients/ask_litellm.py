"""Ask a running Bursar through LiteLLM, in an environment of LiteLLM's own: one JSON line for each answer."""

import json
import os
import sys
from typing import Any

import litellm

URL, KEY = os.environ["BURSAR_URL"], os.environ["BURSAR_KEY"]
PREFIXES = {"chat": ("openai", "/v1"), "messages": ("anthropic", ""), "gemini": ("gemini", "/v1beta")}
TEXT = "[[output=6]] How much is owed?"


def completion(protocol: str, model: str, *, stream: bool) -> tuple[str, int]:
    """Ask as LiteLLM's chat does, which speaks the protocol its prefix names."""
    prefix, path = PREFIXES[protocol]
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    answer: Any = litellm.completion(
        model=f"{prefix}/{model}",
        api_base=URL + path,
        api_key=KEY,
        messages=[{"role": "user", "content": TEXT}],
        max_tokens=50,
        stream=stream,
        **options,
    )
    if not stream:
        return answer.choices[0].message.content, answer.usage.completion_tokens
    text, tokens = "", 0
    for chunk in answer:
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = getattr(chunk, "usage", None)
        tokens = usage.completion_tokens if usage else tokens
    return text, tokens


def responses(model: str, *, stream: bool) -> tuple[str, int]:
    """Ask as LiteLLM's responses do."""
    answer: Any = litellm.responses(
        model=f"openai/{model}", api_base=f"{URL}/v1", api_key=KEY, input=TEXT, max_output_tokens=50, stream=stream
    )
    if stream:
        events = list(answer)
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        return text, events[-1].response.usage.output_tokens
    return answer.output[-1].content[0].text, answer.usage.output_tokens


def main() -> None:
    """Ask every model given, in every protocol, whole and streamed."""
    for model in sys.argv[1:]:
        for protocol in ("chat", "responses", "messages", "gemini"):
            for stream in (False, True):
                if protocol == "responses":
                    text, tokens = responses(model, stream=stream)
                else:
                    text, tokens = completion(protocol, model, stream=stream)
                told = {"protocol": protocol, "model": model, "stream": stream, "text": text, "tokens": tokens}
                print(json.dumps(told), flush=True)


main()
