"""`bursar route`: train a router on your own labels, see what it would save, and ask it why."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from bursar.cli.common import Json, now_us, print_json
from bursar.cli.embedders import embedder_of
from bursar.cli.route_text import HINDSIGHT, show_explanation, show_report, show_trained
from bursar.core.errors import ConfigError, OperatorError, UnknownModel
from bursar.core.money import Money, usd_to_nano
from bursar.embed.embedder import Embedder
from bursar.prices import load as load_book
from bursar.prices.book import Book, Price
from bursar.savings.route.choice import Option
from bursar.savings.route.evaluate import dollars_of, evaluate
from bursar.savings.route.explain import explain as explain_text
from bursar.savings.route.labels import Labels, read_labels
from bursar.savings.route.learned import Learned
from bursar.savings.route.learned import load as load_router
from bursar.savings.route.likeness import see
from bursar.savings.route.policy import Policy
from bursar.savings.route.router import Router, read_router, write_router
from bursar.savings.route.train import About, labels_sha256, train

app = App(name="route", help="Train a router on labels, see what it would save, and ask it why.")

File = Annotated[Path, Parameter(help='Labels, a JSON object a line: {"prompt": ..., "scores": {"MODEL": 0 to 1}}.')]
RouterFile = Annotated[
    Path | None, Parameter(name="--router", help="A file of `bursar route train`; the router that ships without it.")
]
Prices = Annotated[
    list[str] | None,
    Parameter(name="--price", help="MODEL=INPUT,OUTPUT in USD a million tokens, where the price book has none."),
]
OutputTokens = Annotated[
    int, Parameter(name="--output-tokens", help="How long answers are where no label says it.", show_default=True)
]
EmbedderWord = Annotated[
    str,
    Parameter(
        name="--embedder",
        help="What turns texts into vectors: static, local:FOLDER or https://HOST/v1/embeddings#MODEL. A router works "
        "with the one it was trained with and no other.",
    ),
]

USUAL_OUTPUT_TOKENS: Final = 300


@app.command(name="train")
def train_command(
    file: File,
    /,
    *,
    out: Annotated[Path, Parameter(help="Where to write the router.")],
    embedder: EmbedderWord = "static",
    seed: Annotated[int, Parameter(help="What is drawn goes by it: the same seed gives the same router.")] = 0,
    json: Json = False,
) -> None:
    """Train a router: which model is good enough for which prompt. No prompt is kept in it."""
    labels = _labels(file)
    trained = train(labels, embedder_of(embedder, os.environ), _about(file), seed)
    _write(out, write_router(trained.router))
    if json:
        print_json({"router": str(out), "card": msgspec.to_builtins(trained.router.card)})
    else:
        show_trained(trained.router, out)


@app.command(name="eval")
def eval_command(
    file: File,
    /,
    *,
    router: RouterFile = None,
    embedder: EmbedderWord = "static",
    price: Prices = None,
    task: Annotated[str, Parameter(help="A tag of the labels that names tasks: what a table by task would do.")] = "",
    output_tokens: OutputTokens = USUAL_OUTPUT_TOKENS,
    curve: Annotated[Path | None, Parameter(help="Draw quality over cost into this .svg or .png.")] = None,
    json: Json = False,
) -> None:
    """Say what a router would deliver and cost on labels, beside what trivial rules would.

    Without --router one is trained on four fifths and tried on the fifth, five times: no label is judged by a router
    that has seen it.
    """
    if curve is not None:
        from bursar.cli.floor_plot import must_be_drawable

        must_be_drawable(curve)
    if output_tokens < 1:
        raise ConfigError(f"output-tokens is {output_tokens}; expected at least 1")
    labels = _labels(file)
    _check_task(labels, task)
    vectors = embedder_of(embedder, os.environ)
    options = _options(labels, price or [], output_tokens)
    counted = labels if labels.counted else msgspec.structs.replace(labels, tokens=labels.tokens * output_tokens)
    report = evaluate(counted, _chances(labels, router, vectors), dollars_of(counted, options), task)
    assumed = "" if labels.counted else f"no label counts tokens: answers are taken as {output_tokens} tokens long"
    if curve is not None:
        from bursar.cli.route_plot import draw

        draw(report, curve)
    if json:
        print_json(msgspec.to_builtins(report, str_keys=True) | {"assumed": assumed, "hindsight": HINDSIGHT})
    else:
        show_report(report, assumed)


@app.command(name="explain")
def explain_command(
    prompt: Annotated[str, Parameter(help="The prompt.")],
    /,
    *,
    router: RouterFile = None,
    embedder: EmbedderWord = "static",
    json: Json = False,
) -> None:
    """Say which things in a prompt spoke for which model."""
    if not prompt.strip():
        raise ConfigError("prompt is empty; expected a text to explain")
    read = _router(router)
    # What is explained are the router's own models: neither prices nor abilities have a say.
    options = [Option(model, 0, place, output_tokens=1) for place, model in enumerate(read.models)]
    policy = Policy(name="explain", models=read.models)
    explanation = explain_text(prompt, Learned(read, embedder_of(embedder, os.environ)).predictor(policy, options))
    if json:
        print_json(msgspec.to_builtins(explanation))
    else:
        show_explanation(explanation)


def _labels(file: Path) -> Labels:
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise OperatorError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise OperatorError(f"{file}: not UTF-8 at byte {error.start}") from None
    return read_labels(text, str(file))


def _check_task(labels: Labels, task: str) -> None:
    known = sorted({name for tags in labels.tags for name in tags})
    if task and task not in known:
        told = f"they have {', '.join(known)}" if known else "they have no tags"
        raise ConfigError(f"task is {task!r}, which is no tag of the labels; {told}")


def _router(file: Path | None) -> Router:
    if file is None:
        return load_router()
    try:
        data = file.read_bytes()
    except OSError as error:
        raise OperatorError(f"{file} cannot be read: {error.strerror}") from None
    return read_router(data, str(file))


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise OperatorError(f"{file} cannot be written: {error.strerror}") from None


def _about(file: Path) -> About:
    day = datetime.fromtimestamp(now_us() / 1e6, UTC).date().isoformat()
    return About(
        trained_on=file.name,
        trained=day,
        limits="It knows prompts like those it was trained on, and these models as they were when they were judged.",
    )


def _chances(labels: Labels, router: Path | None, embedder: Embedder) -> Any:
    """Return what is expected of each answer by a router that has not seen its label."""
    if router is None:
        return train(labels, embedder, About(trained_on="", trained="", limits="")).chances
    read = _router(router)
    if read.models != labels.models:
        raise ConfigError(f"{router} knows {', '.join(read.models)}; the labels are of {', '.join(labels.models)}")
    if read.card.labels_sha256 == labels_sha256(labels):
        raise ConfigError(f"{router} was trained on these very labels; leave --router out to judge it on rows left out")
    return Learned(read, embedder).expected(see(labels.prompts, embedder))


def _options(labels: Labels, prices: Sequence[str], output_tokens: int) -> list[Option]:
    """Return the labels' models with their prices: as given, else by the price book."""
    given = dict(map(_price, prices))
    strange = sorted(given.keys() - set(labels.models))
    if strange:
        raise ConfigError(f"price: the labels have no model {', '.join(strange)}; they have {', '.join(labels.models)}")
    book, moment = load_book(), now_us()
    options: list[Option] = []
    for model in labels.models:
        if model in given:
            rates = given[model]
        else:
            found = _found(book, model).at(moment).rates
            rates = found["input_tokens"].base_nano, found["output_tokens"].base_nano
        options.append(Option(model, *rates, output_tokens=output_tokens))
    return options


def _found(book: Book, model: str) -> Price:
    try:
        return book.find_any(model)
    except UnknownModel as error:
        raise ConfigError(f"{error}; give it by --price {model}=INPUT,OUTPUT") from None


def _price(text: str) -> tuple[str, tuple[Money, Money]]:
    model, equals, rates = text.rpartition("=")
    parts = rates.split(",")
    try:
        if not equals or len(parts) != 2:
            raise ValueError("expected MODEL=INPUT,OUTPUT")
        return model, (usd_to_nano(parts[0].strip()), usd_to_nano(parts[1].strip()))
    except ValueError as error:
        raise ConfigError(f"price is {text!r}: {error}, such as small=0.15,0.60") from None
