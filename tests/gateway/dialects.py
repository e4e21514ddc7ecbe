"""Ask for the same things in each protocol, by its official client."""

import base64
import json
from typing import Any, ClassVar, NamedTuple, Protocol

import anthropic
import openai
from google import genai

SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Told(NamedTuple):
    """Hold what a client understood of an answer."""

    text: str
    tool: tuple[str, Any] | None
    stopped: str  # in the words of the protocol
    tokens: tuple[int, int]  # input and output, as the protocol counts them
    call: str


class Dialect(Protocol):
    """Be a client of one protocol."""

    stops: ClassVar[dict[str, str]]

    def __init__(self, url: str, key: str) -> None: ...

    def close(self) -> None:
        """Close its connections."""
        ...

    def ask(self, model: str, text: str, *, stream: bool, cap: int = 100) -> Told:
        """Ask with a system prompt, an earlier turn and an image."""
        ...

    def use_tool(self, model: str, *, stream: bool) -> Told:
        """Have a tool called."""
        ...

    def answer_tool(self, model: str) -> Told:
        """Have a tool called, and go on with its result."""
        ...


class Chat:
    """Be OpenAI's client, asking for chat completions."""

    stops: ClassVar = {"end": "stop", "cap": "length", "tool": "tool_calls"}
    tools: ClassVar[Any] = [
        {"type": "function", "function": {"name": "weather", "description": "Tell it.", "parameters": SCHEMA}}
    ]

    def __init__(self, url: str, key: str) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    def close(self) -> None:
        self.client.close()

    def ask(self, model: str, text: str, *, stream: bool, cap: int = 100) -> Told:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": [image, {"type": "text", "text": text}]},
        ]
        return self._told({"model": model, "messages": messages, "max_completion_tokens": cap}, stream=stream)

    def use_tool(self, model: str, *, stream: bool) -> Told:
        return self._told({"model": model, "messages": [self._wish()], "tools": self.tools}, stream=stream)

    def answer_tool(self, model: str) -> Told:
        fields: dict[str, Any] = {"model": model, "tools": self.tools}
        answer = self.client.chat.completions.create(**fields, messages=[self._wish()])
        message = answer.choices[0].message
        assert message.tool_calls
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "[[output=7]] sunny"}
        last = {"role": "user", "content": "[[output=7]] And now?"}
        asked = message.model_dump(exclude_none=True)
        return self._told(fields | {"messages": [self._wish(), asked, result, last]}, stream=False)

    def _wish(self) -> dict[str, str]:
        return {"role": "user", "content": "[[tool=weather]] How is it in Paris?"}

    def _told(self, fields: dict[str, Any], *, stream: bool) -> Told:
        if not stream:
            raw = self.client.chat.completions.with_raw_response.create(**fields)
            answer, call = raw.parse(), raw.headers["x-bursar-call-id"]
        else:
            with self.client.chat.completions.stream(**fields, stream_options={"include_usage": True}) as events:
                try:
                    answer = events.until_done().get_final_completion()
                except openai.LengthFinishReasonError as error:  # the client's own opinion of a cap that was met
                    answer = error.completion
                call = events._response.headers["x-bursar-call-id"]
        choice, usage = answer.choices[0], answer.usage
        assert usage is not None
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        calls = choice.message.tool_calls
        tool = (calls[0].function.name, json.loads(calls[0].function.arguments)) if calls else None
        tokens = (usage.prompt_tokens, usage.completion_tokens)
        return Told(choice.message.content or "", tool, choice.finish_reason, tokens, call)


class Messages:
    """Be Anthropic's client."""

    stops: ClassVar = {"end": "end_turn", "cap": "max_tokens", "tool": "tool_use"}
    tools: ClassVar[Any] = [{"name": "weather", "description": "Tell it.", "input_schema": SCHEMA}]

    def __init__(self, url: str, key: str) -> None:
        self.client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)

    def close(self) -> None:
        self.client.close()

    def ask(self, model: str, text: str, *, stream: bool, cap: int = 100) -> Told:
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
        messages = [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": [image, {"type": "text", "text": text}]},
        ]
        fields = {"model": model, "messages": messages, "max_tokens": cap, "system": "Be brief."}
        return self._told(fields, stream=stream)

    def use_tool(self, model: str, *, stream: bool) -> Told:
        fields = {"model": model, "messages": [self._wish()], "tools": self.tools, "max_tokens": 100}
        return self._told(fields, stream=stream)

    def answer_tool(self, model: str) -> Told:
        fields: dict[str, Any] = {"model": model, "tools": self.tools, "max_tokens": 100}
        answer = self.client.messages.create(**fields, messages=[self._wish()])
        use = next(block for block in answer.content if block.type == "tool_use")
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
        asked = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]}
        last = {"role": "user", "content": [result, {"type": "text", "text": "[[output=7]] And now?"}]}
        return self._told(fields | {"messages": [self._wish(), asked, last]}, stream=False)

    def _wish(self) -> dict[str, str]:
        return {"role": "user", "content": "[[tool=weather]] How is it in Paris?"}

    def _told(self, fields: dict[str, Any], *, stream: bool) -> Told:
        if not stream:
            raw = self.client.messages.with_raw_response.create(**fields)
            answer, call = raw.parse(), raw.headers["x-bursar-call-id"]
        else:
            with self.client.messages.stream(**fields) as events:
                answer = events.get_final_message()
                call = events.response.headers["x-bursar-call-id"]
        text = "".join(block.text for block in answer.content if block.type == "text")
        uses = [block for block in answer.content if block.type == "tool_use"]
        usage = answer.usage
        read = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        tool = (uses[0].name, uses[0].input) if uses else None
        return Told(text, tool, str(answer.stop_reason), (read, usage.output_tokens), call)


class Responses:
    """Be OpenAI's client, asking for responses."""

    stops: ClassVar = {"end": "completed", "cap": "max_output_tokens", "tool": "completed"}
    tools: ClassVar[Any] = [
        {"type": "function", "name": "weather", "description": "Tell it.", "parameters": SCHEMA, "strict": False}
    ]

    def __init__(self, url: str, key: str) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    def close(self) -> None:
        self.client.close()

    def ask(self, model: str, text: str, *, stream: bool, cap: int = 100) -> Told:
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
        asked = [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": [image, {"type": "input_text", "text": text}]},
        ]
        fields = {"model": model, "input": asked, "instructions": "Be brief.", "max_output_tokens": cap}
        return self._told(fields, stream=stream)

    def use_tool(self, model: str, *, stream: bool) -> Told:
        return self._told({"model": model, "input": [self._wish()], "tools": self.tools}, stream=stream)

    def answer_tool(self, model: str) -> Told:
        fields: dict[str, Any] = {"model": model, "tools": self.tools}
        answer = self.client.responses.create(**fields, input=[self._wish()])
        use = next(item for item in answer.output if item.type == "function_call")
        result = {"type": "function_call_output", "call_id": use.call_id, "output": "sunny"}
        asked = [item.model_dump(exclude_none=True) for item in answer.output]
        last = {"role": "user", "content": "[[output=7]] And now?"}
        return self._told(fields | {"input": [self._wish(), *asked, result, last]}, stream=False)

    def _wish(self) -> dict[str, str]:
        return {"role": "user", "content": "[[tool=weather]] How is it in Paris?"}

    def _told(self, fields: dict[str, Any], *, stream: bool) -> Told:
        if not stream:
            raw = self.client.responses.with_raw_response.create(**fields)
            answer, call = raw.parse(), raw.headers["x-bursar-call-id"]
        else:
            with self.client.responses.stream(**fields) as events:
                *_, last = events  # the client's own `get_final_response` knows no answer that met its cap
                answer = last.response
                call = events._response.headers["x-bursar-call-id"]
        usage = answer.usage
        assert usage is not None
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        uses = [item for item in answer.output if item.type == "function_call"]
        tool = (uses[0].name, json.loads(uses[0].arguments)) if uses else None
        reason = answer.incomplete_details.reason if answer.incomplete_details else answer.status
        return Told(answer.output_text, tool, str(reason), (usage.input_tokens, usage.output_tokens), call)


class Gemini:
    """Be Google's client."""

    stops: ClassVar = {"end": "STOP", "cap": "MAX_TOKENS", "tool": "STOP"}
    tools: ClassVar[Any] = [
        {"function_declarations": [{"name": "weather", "description": "Tell it.", "parameters": SCHEMA}]}
    ]

    def __init__(self, url: str, key: str) -> None:
        options = genai.types.HttpOptions(base_url=url, retry_options=genai.types.HttpRetryOptions(attempts=1))
        self.client = genai.Client(api_key=key, http_options=options)

    def close(self) -> None:
        self.client.close()

    def ask(self, model: str, text: str, *, stream: bool, cap: int = 100) -> Told:
        image = {"inline_data": {"mime_type": "image/png", "data": base64.b64decode(PIXEL)}}
        contents = [
            {"role": "user", "parts": [{"text": "hello"}]},
            {"role": "model", "parts": [{"text": "hi"}]},
            {"role": "user", "parts": [image, {"text": text}]},
        ]
        return self._told(model, contents, {"system_instruction": "Be brief.", "max_output_tokens": cap}, stream=stream)

    def use_tool(self, model: str, *, stream: bool) -> Told:
        return self._told(model, [self._wish()], self._with_tools(), stream=stream)

    def answer_tool(self, model: str) -> Told:
        answer = self.client.models.generate_content(model=model, contents=[self._wish()], config=self._with_tools())
        assert answer.candidates
        asked = answer.candidates[0].content
        assert answer.function_calls
        use = answer.function_calls[0]
        result = {"function_response": {"id": use.id, "name": use.name, "response": {"result": "sunny"}}}
        last = {"role": "user", "parts": [result, {"text": "[[output=7]] And now?"}]}
        return self._told(model, [self._wish(), asked, last], self._with_tools(), stream=False)

    def _with_tools(self) -> dict[str, Any]:
        return {"tools": self.tools, "automatic_function_calling": {"disable": True}}

    def _wish(self) -> dict[str, Any]:
        return {"role": "user", "parts": [{"text": "[[tool=weather]] How is it in Paris?"}]}

    def _told(self, model: str, contents: list[Any], config: dict[str, Any], *, stream: bool) -> Told:
        asked: dict[str, Any] = {"model": model, "contents": contents, "config": config}
        if stream:
            chunks = list(self.client.models.generate_content_stream(**asked))
        else:
            chunks = [self.client.models.generate_content(**asked)]
        last = chunks[-1]
        headers = chunks[0].sdk_http_response
        assert headers is not None
        assert headers.headers is not None
        usage = last.usage_metadata
        assert usage is not None
        output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        assert usage.total_token_count == (usage.prompt_token_count or 0) + output
        uses = [use for chunk in chunks for use in chunk.function_calls or ()]
        tool = (uses[0].name or "", uses[0].args) if uses else None
        text = "".join(part.text or "" for chunk in chunks for part in chunk.parts or () if not part.thought)
        assert last.candidates
        stopped = last.candidates[0].finish_reason
        assert stopped is not None
        tokens = (usage.prompt_token_count or 0, output)
        return Told(text, tool, stopped.name, tokens, headers.headers["x-bursar-call-id"])
