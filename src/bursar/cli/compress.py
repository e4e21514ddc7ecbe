"""`bursar compress`: say a prompt with fewer tokens, and show what went."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from cyclopts import Parameter

from bursar.cli.common import Json, now_us, print_json
from bursar.cli.compress_text import show_diff
from bursar.cli.embedders import embedder_of
from bursar.core.errors import ConfigError, OperatorError
from bursar.core.money import nano_to_usd
from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.prices import load as load_book
from bursar.prices.charge import charge, total
from bursar.savings.compress.compress import compress as compressed
from bursar.savings.compress.compress import estimate
from bursar.savings.compress.prompt import Budget, Compressed, Order
from bursar.tokens.exact import counter
from bursar.wires.parts import Kind, Part, write_parts
from bursar.wires.prompt import read_parts

STDIN: Final = "-"


class Given(NamedTuple):
    """Hold what is to be compressed: its parts, the name of each, and the body they were read from, if it is one."""

    parts: tuple[Part, ...]
    names: tuple[str, ...]
    body: bytes | None = None


def compress(
    *files: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help="Texts, folders of texts, or a chat request's body; - is what is piped in.",
        ),
    ],
    question: Annotated[str, Parameter(help="What the prompt is asked; of a body, the last turn without it.")] = "",
    ratio: Annotated[float | None, Parameter(help="4 leaves a quarter of the tokens.")] = None,
    tokens: Annotated[int | None, Parameter(help="Tokens to leave, in place of a ratio.")] = None,
    order: Annotated[Order, Parameter(help="Leave passages in their order, or the best at both ends.")] = Order.kept,
    diff: Annotated[bool, Parameter(negative="", help="Show before and after side by side.")] = False,
    words_only: Annotated[bool, Parameter(negative="", help="Rank by words alone, without vectors.")] = False,
    embedder: Annotated[str, Parameter(help="static, local:FOLDER or https://HOST/v1/embeddings#MODEL.")] = "static",
    model: Annotated[str | None, Parameter(help="Price what is saved as input of this model.")] = None,
    json: Json = False,
) -> None:
    """Compress a prompt: without loss, and with --ratio or --tokens down to what its question needs.

    Documents may lose sentences, JSON whole elements, older turns of a conversation what they say besides;
    instructions, tools, code and the last turn stay. Prints the prompt, and on standard error what it saves.
    """
    given = _given(files)
    count, exactly = _counter()
    budget = Budget(ratio=ratio, tokens=tokens, order=order)
    ranked = ratio is not None or tokens is not None
    vectors = embedder_of(embedder, os.environ) if ranked and not words_only else None
    found = compressed(given.parts, question, budget, count, vectors)
    summary = _summary(found, model, exactly=exactly)
    if json:
        print_json(_as_json(given, found) | summary)
        return
    if diff:
        show_diff(given.parts, given.names, found)
    else:
        sys.stdout.write(_written(given, found))
    print(_sentence(summary), file=sys.stderr)
    if found.tokens_before and not any(text.strip() for text in found.texts):
        raise OperatorError("nothing was left: not even the beginning of a sentence fits; ask for more tokens")


def _given(files: Sequence[str]) -> Given:
    """Read what is named. Raises `OperatorError` for what is not there, no text, or nothing."""
    if not files:
        raise OperatorError("name a file, a folder or a chat request's body; - reads what is piped in")
    read = [(name, content) for file in files for name, content in _contents(file)]
    if not read:
        raise OperatorError(f"{', '.join(files)} holds no text in UTF-8; name a folder or file that does")
    if len(read) == 1 and (parts := _parts_of_body(read[0][1])):
        names = tuple(".".join(map(str, part.path)) for part in parts)
        return Given(parts, names, read[0][1])
    texts = [(name, _text(name, content)) for name, content in read]
    return Given(tuple(Part(text, Kind.retrieved) for _, text in texts), tuple(name for name, _ in texts))


def _contents(file: str) -> Iterator[tuple[str, bytes]]:
    if file == STDIN:
        yield STDIN, sys.stdin.buffer.read()
        return
    if file.startswith("-"):
        raise OperatorError(f"there is no option {file}; `bursar compress --help` lists them, ./{file} is a file")
    path = Path(file)
    inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    if not inside:
        raise OperatorError(f"the folder {file} holds no file; name one that does")
    for each in inside:
        try:
            content = each.read_bytes()
        except OSError as error:
            raise OperatorError(f"{each} cannot be read: {error.strerror}") from None
        if path.is_dir() and not _is_text(content):
            print(f"{each} is no text in UTF-8 and is left out", file=sys.stderr)
            continue
        yield str(each), content


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise OperatorError(f"{name} is no text in UTF-8: byte {error.start} is {content[error.start]:#04x}") from None


def _parts_of_body(content: bytes) -> tuple[Part, ...]:
    """Return the parts of a chat request's body; none of what is no such body."""
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    protocol = _protocol(body) if isinstance(body, dict) else None
    return () if protocol is None else read_parts(protocol, content)


def _protocol(body: dict[str, Any]) -> Protocol | None:
    """Tell a body's protocol by what only that one has."""
    if isinstance(body.get("contents"), list):
        return Protocol.gemini
    if isinstance(turns := body.get("messages"), list):
        contents = [turn.get("content") for turn in turns if isinstance(turn, dict)]
        blocks = [each for content in contents if isinstance(content, list) for each in content]
        types = {each.get("type") for each in blocks if isinstance(each, dict)}
        anthropic = "system" in body or types & {"tool_use", "tool_result", "thinking", "document"}
        return Protocol.anthropic_messages if anthropic else Protocol.openai_chat
    return Protocol.openai_responses if "model" in body and "input" in body else None


def _counter() -> tuple[Callable[[str], int], bool]:
    """Return what counts tokens, and whether it counts them exactly."""
    try:
        return counter(), True
    except ConfigError:
        return estimate, False


def _written(given: Given, found: Compressed) -> str:
    """Return the prompt as it is after: the body, the text, or the texts each under its name."""
    if given.body is not None:
        return write_parts(given.body, given.parts, found.texts).decode() + "\n"
    if len(found.texts) == 1:
        return found.texts[0].rstrip("\n") + "\n"
    return "".join(f"{name}\n{text.rstrip()}\n\n" for name, text in zip(given.names, found.texts, strict=True) if text)


def _as_json(given: Given, found: Compressed) -> dict[str, Any]:
    texts = [{"name": name, "text": text} for name, text in zip(given.names, found.texts, strict=True)]
    body = None if given.body is None else write_parts(given.body, given.parts, found.texts)
    return {
        "texts": texts,
        "removals": msgspec.to_builtins(found.removals),
        "handles": msgspec.to_builtins(found.handles),
    } | ({} if body is None else {"body": msgspec.json.decode(body)})


def _summary(found: Compressed, model: str | None, *, exactly: bool) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "tokens_before": found.tokens_before,
        "tokens_after": found.tokens_after,
        "counted": "o200k_base" if exactly else "estimated",
    }
    if model is not None:
        card = load_book().find_any(model).at(now_us(), None)
        saved = Usage(input_tokens=found.tokens_before - found.tokens_after)
        summary |= {"price_id": card.price_id, "saved_usd": nano_to_usd(total(charge(saved, card)))}
    return summary


def _sentence(summary: dict[str, Any]) -> str:
    before, after = summary["tokens_before"], summary["tokens_after"]
    times = f", {before / after:.1f} times fewer" if after else ""
    about = "" if summary["counted"] != "estimated" else " (estimated; exact with bursar[tokens])"
    money = f"; saves ${summary['saved_usd']} a call by {summary['price_id']}" if "price_id" in summary else ""
    return f"{before:,} tokens before, {after:,} after{times}{about}{money}"
