"""`bursar compress`: say a prompt with fewer tokens, and show what went."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from bursar.cli.common import Json, config_file, now_us, print_json, run
from bursar.cli.compress_given import Given, read_given
from bursar.cli.compress_text import Shown, as_json, show_diff, written
from bursar.cli.embedders import embedder_of
from bursar.core.errors import ConfigError, OperatorError
from bursar.core.money import nano_to_usd
from bursar.core.usage import Usage
from bursar.prices import load as load_book
from bursar.prices.charge import charge, total
from bursar.savings.compress.compress import compress as compressed
from bursar.savings.compress.compress import estimate, last_asked
from bursar.savings.compress.context import MAY_LOSE, WHY
from bursar.savings.compress.coverage import covered
from bursar.savings.compress.prompt import Budget, Compressed, Order
from bursar.tokens.exact import counter
from bursar.wires.parts import Kind, write_parts

STATIC: Final = "static"


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
    budget: Annotated[
        tuple[str, ...], Parameter(help="Most tokens of a segment, such as history=2000 or retrieved=8000; repeatable.")
    ] = (),
    order: Annotated[Order, Parameter(help="Leave passages in their order, or the best at both ends.")] = Order.kept,
    diff: Annotated[bool, Parameter(negative="", help="Show before and after side by side.")] = False,
    words_only: Annotated[bool, Parameter(negative="", help="Rank by words alone, without vectors.")] = False,
    embedder: Annotated[str, Parameter(help="static, local:FOLDER or https://HOST/v1/embeddings#MODEL.")] = STATIC,
    markup: Annotated[bool, Parameter(negative="", help="Turn HTML that was retrieved into light text first.")] = False,
    model: Annotated[str | None, Parameter(help="Price what is saved as input of this model.")] = None,
    as_gateway: Annotated[str | None, Parameter(help="Show a body as a gateway sends it, of this model.")] = None,
    config: Annotated[
        Path | None, Parameter(name="--config", help="The gateway's bursar.toml; the folder's own without.")
    ] = None,
    json: Json = False,
) -> None:
    """Compress a prompt: without loss, and with --ratio or --tokens down to what its question needs.

    Documents may lose sentences, JSON whole elements, older turns of a conversation what they say besides;
    instructions, tools, code and the last turn stay. Prints the prompt, and on standard error what it saves.
    """
    given = read_given(files)
    count, exactly = _counter()
    if as_gateway is not None:
        if any((question, ratio, tokens, budget, order is not Order.kept, markup, words_only, embedder != STATIC)):
            raise OperatorError("--as-gateway goes by bursar.toml; beside it only --config, --diff, --model and --json")
        from bursar.cli.compress_gateway import as_sent  # no other use of this command needs a gateway's parts

        shown = run(as_sent(given, as_gateway, config_file(config), count))
    elif config is not None:
        raise OperatorError("--config is for --as-gateway MODEL; leave it out, or name a model")
    else:
        limits = Budget(ratio=ratio, tokens=tokens, by_kind=_by_kind(budget), order=order, markup=markup)
        ranked = ratio is not None or tokens is not None or bool(budget)
        vectors = embedder_of(embedder, os.environ) if ranked and not words_only else None
        found = compressed(given.parts, question, limits, count, vectors)
        body = None if given.body is None else write_parts(given.body, given.parts, found.texts)
        shown = Shown(given, found, body, tuple(_notes(given, found, question)))
    summary = _summary(shown.found, model, exactly=exactly)
    if json:
        print_json(as_json(shown) | summary)
        return
    if diff:
        show_diff(given.parts, given.names, shown.found)
    else:
        sys.stdout.write(written(shown))
    for note in shown.notes:
        print(note, file=sys.stderr)
    print(_sentence(summary), file=sys.stderr)
    if shown.found.tokens_before and not any(text.strip() for text in shown.found.texts):
        raise OperatorError("nothing was left: not even the beginning of a sentence fits; ask for more tokens")


def _by_kind(words: Sequence[str]) -> dict[Kind, int]:
    """Read budgets of segments. Raises `ConfigError` for what is none."""
    found: dict[Kind, int] = {}
    for word in words:
        name, _, tokens = word.partition("=")
        if name not in MAY_LOSE or not (tokens.isascii() and tokens.isdigit()):
            raise ConfigError(
                f"--budget is {word!r}; give {' or '.join(f'{kind}=2000' for kind in MAY_LOSE)}: of system, tools and "
                "user nothing is left out"
            )
        if Kind(name) in found:
            raise ConfigError(f"--budget has {name} twice; give one number of tokens for it")
        found[Kind(name)] = int(tokens)
    return found


def _notes(given: Given, found: Compressed, question: str) -> Iterator[str]:
    """Say where what stays says nothing of the question, as far as words can tell."""
    if not any(removal.why == WHY for removal in found.removals):
        return
    asked = question or last_asked(given.parts)
    kept = [text for part, text in zip(given.parts, found.texts, strict=True) if part.kind in MAY_LOSE]
    share = covered(kept, asked)
    if share == 0:
        yield "no word of the question is in what stays: it may not be what was asked for"


def _counter() -> tuple[Callable[[str], int], bool]:
    """Return what counts tokens, and whether it counts them exactly."""
    try:
        return counter(), True
    except ConfigError:
        return estimate, False


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
