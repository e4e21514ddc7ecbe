"""Keep what providers answer, in the shapes their public documents show: small, with the usage each one means."""

import json
from typing import Any, Final, NamedTuple

from bursar.core.usage import Usage

TEXT: Final = "Paris is it."


class Shape(NamedTuple):
    """Hold one provider's answer, its stream as it is sent, and an error; `source` is where the shape is shown."""

    source: str
    answer: dict[str, Any]
    stream: list[dict[str, Any] | bytes]
    usage: Usage
    error: tuple[str, dict[str, Any]]
    stated_nano: int | None = None


def _answer(model: str, usage: dict[str, Any], message: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": TEXT} | (message or {})
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    head = {"id": "cmpl-e5cc70bb28c4", "object": "chat.completion", "created": 1795348800, "model": model}
    return head | {"choices": [choice], "usage": usage} | fields


def _chunk(model: str, delta: dict[str, Any] | None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    head = {"id": "cmpl-e5cc70bb28c4", "object": "chat.completion.chunk", "created": 1795348800, "model": model}
    return head | {"choices": choices} | fields


def _said(model: str, **fields: Any) -> list[dict[str, Any]]:
    return [_chunk(model, {"role": "assistant", "content": ""}, **fields), _chunk(model, {"content": TEXT}, **fields)]


def _with_the_end(model: str, usage: dict[str, Any], first: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Report usage in the chunk that ends the choice."""
    return [*_said(model, **(first or {})), _chunk(model, {"content": ""}, "stop", usage=usage)]


def _after_the_end(model: str, usage: dict[str, Any], /, **fields: Any) -> list[dict[str, Any]]:
    """Report usage in a chunk of its own."""
    return [*_said(model, **fields), _chunk(model, {}, "stop", **fields), _chunk(model, None, usage=usage)]


_MISTRAL: Final = {"prompt_tokens": 16, "completion_tokens": 34, "total_tokens": 50, "prompt_audio_seconds": None}
_GROQ: Final = {
    "queue_time": 0.037493756,
    "prompt_tokens": 18,
    "prompt_time": 0.000680594,
    "completion_tokens": 556,
    "completion_time": 0.463333333,
    "total_tokens": 574,
    "total_time": 0.464013927,
    "prompt_tokens_details": {"cached_tokens": 8},
}
_TOGETHER: Final = {"prompt_tokens": 12, "completion_tokens": 13, "total_tokens": 25, "cached_tokens": 0}
_FIREWORKS: Final = {
    "prompt_tokens": 26,
    "total_tokens": 35,
    "completion_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 20},
}
_OPENROUTER: Final = {
    "prompt_tokens": 194,
    "completion_tokens": 12,
    "total_tokens": 206,
    "cost": 0.00003465,
    "is_byok": False,
    "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 0, "audio_tokens": 0, "video_tokens": 0},
    "cost_details": {
        "upstream_inference_cost": None,
        "upstream_inference_prompt_cost": 0.0000291,
        "upstream_inference_completions_cost": 0.0000072,
    },
    "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 0},
}
_DEEPSEEK: Final = {
    "prompt_tokens": 130,
    "completion_tokens": 40,
    "total_tokens": 170,
    "prompt_tokens_details": {"cached_tokens": 128},
    "completion_tokens_details": {"reasoning_tokens": 25},
    "prompt_cache_hit_tokens": 128,
    "prompt_cache_miss_tokens": 2,
}
_VLLM: Final = {"prompt_tokens": 11, "total_tokens": 30, "completion_tokens": 19, "prompt_tokens_details": None}
_SGLANG: Final = {
    "prompt_tokens": 21,
    "total_tokens": 85,
    "completion_tokens": 64,
    "prompt_tokens_details": {"cached_tokens": 5},
    "reasoning_tokens": 30,
}
_LLAMACPP: Final = {
    "completion_tokens": 8,
    "prompt_tokens": 35,
    "total_tokens": 43,
    "prompt_tokens_details": {"cached_tokens": 0},
}
_TIMINGS: Final = {"cache_n": 0, "prompt_n": 35, "prompt_ms": 30.958, "predicted_n": 8, "predicted_ms": 261.064}
_OLLAMA: Final = {"prompt_tokens": 26, "completion_tokens": 282, "total_tokens": 308}


def _error(status: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return status, fields


SHAPES: Final = {
    "mistral": Shape(
        "https://docs.mistral.ai/api/endpoint/chat",
        _answer("mistral-small-latest", _MISTRAL, {"tool_calls": None, "prefix": False}),
        _with_the_end("mistral-small-latest", _MISTRAL),
        Usage(16, output_tokens=34),
        _error(
            "422 Unprocessable Entity",
            object="error",
            message={"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs"}]},
            type="invalid_request_error",
            param=None,
            code=None,
        ),
    ),
    "groq": Shape(
        "https://console.groq.com/docs/api-reference#chat-create",
        _answer("llama-3.3-70b-versatile", _GROQ, system_fingerprint="fp_179b0f92c9", x_groq={"id": "req_01jb"}),
        [
            *_said("llama-3.3-70b-versatile", x_groq={"id": "req_01jb"}),
            _chunk("llama-3.3-70b-versatile", {}, "stop", x_groq={"id": "req_01jb", "usage": _GROQ}),
        ],
        Usage(10, 8, output_tokens=556),
        _error(
            "429 Too Many Requests",
            error={"message": "Rate limit reached", "type": "tokens", "code": "rate_limit_exceeded"},
        ),
    ),
    "together": Shape(
        "https://docs.together.ai/docs/chat-overview",
        _answer("meta-llama/Llama-3.3-70B-Instruct-Turbo", _TOGETHER, {"tool_calls": []}, prompt=[]),
        _with_the_end("meta-llama/Llama-3.3-70B-Instruct-Turbo", _TOGETHER, {"usage": None}),
        Usage(12, output_tokens=13),
        _error("503 Service Unavailable", error={"message": "overloaded", "type": "service_unavailable", "code": None}),
    ),
    "fireworks": Shape(
        "https://docs.fireworks.ai/guides/querying-text-models",
        _answer("accounts/fireworks/models/gpt-oss-120b", _FIREWORKS),
        _with_the_end("accounts/fireworks/models/gpt-oss-120b", _FIREWORKS),
        Usage(6, 20, output_tokens=9),
        _error("404 Not Found", error={"message": "Model not found", "code": "NOT_FOUND", "object": "error"}),
    ),
    "openrouter": Shape(
        "https://openrouter.ai/docs/guides/guides/usage-accounting",
        _answer("openai/gpt-4o-mini", _OPENROUTER, {"refusal": None, "reasoning": None}, provider="OpenAI"),
        [
            b": OPENROUTER PROCESSING\n\n",
            *_said("openai/gpt-4o-mini", provider="OpenAI"),
            _chunk("openai/gpt-4o-mini", {"content": ""}, "stop", native_finish_reason="stop"),
            _chunk("openai/gpt-4o-mini", {"role": "assistant", "content": ""}, usage=_OPENROUTER),
        ],
        Usage(184, 10, output_tokens=12),
        _error("402 Payment Required", error={"code": 402, "message": "Insufficient credits", "metadata": {}}),
        stated_nano=34_650,
    ),
    "deepseek": Shape(
        "https://api-docs.deepseek.com/api/create-chat-completion",
        _answer("deepseek-flash", _DEEPSEEK, {"reasoning_content": "France's capital."}),
        [
            b": keep-alive\n\n",
            _chunk("deepseek-flash", {"role": "assistant", "content": None, "reasoning_content": "France."}),
            *_with_the_end("deepseek-flash", _DEEPSEEK, {"usage": None}),
        ],
        Usage(2, 128, output_tokens=15, reasoning_tokens=25),
        _error(
            "402 Payment Required",
            error={"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"},
        ),
    ),
    "vllm": Shape(
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        _answer("Qwen/Qwen3-8B", _VLLM, {"tool_calls": [], "reasoning_content": None}, prompt_logprobs=None),
        _after_the_end("Qwen/Qwen3-8B", _VLLM),
        Usage(11, output_tokens=19),
        _error("400 Bad Request", object="error", message="too long", type="BadRequestError", param=None, code=400),
    ),
    "sglang": Shape(
        "https://docs.sglang.ai/basic_usage/openai_api_completions.html",
        _answer("Qwen/Qwen3-8B-s", _SGLANG, {"reasoning_content": None}, metadata={"weight_version": "default"}),
        _after_the_end("Qwen/Qwen3-8B-s", _SGLANG, usage=None),
        Usage(16, 5, output_tokens=34, reasoning_tokens=30),
        _error("400 Bad Request", object="error", message="too long", type="BadRequest", param=None, code=400),
    ),
    "llamacpp": Shape(
        "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        _answer("qwen3-8b", _LLAMACPP, timings=_TIMINGS, system_fingerprint="b6250"),
        [
            *_said("qwen3-8b"),
            _chunk("qwen3-8b", {}, "stop"),
            _chunk("qwen3-8b", None, usage=_LLAMACPP, timings=_TIMINGS),
        ],
        Usage(35, output_tokens=8),
        _error("503 Service Unavailable", error={"code": 503, "message": "Loading model", "type": "unavailable_error"}),
    ),
    "ollama": Shape(
        "https://docs.ollama.com/api/openai-compatibility",
        _answer("gemma3", _OLLAMA, system_fingerprint="fp_ollama"),
        _after_the_end("gemma3", _OLLAMA, system_fingerprint="fp_ollama"),
        Usage(26, output_tokens=282),
        _error("404 Not Found", error={"message": "model 'x' not found", "type": "not_found_error", "code": None}),
    ),
}


def sse(pieces: list[dict[str, Any] | bytes]) -> bytes:
    """Write a stream as it is sent, its end mark included."""
    written = [each if isinstance(each, bytes) else b"data: %b\n\n" % json.dumps(each).encode() for each in pieces]
    return b"".join([*written, b"data: [DONE]\n\n"])
