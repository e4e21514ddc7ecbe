"""Measure what prompt-cache affinity does to cache hits: conversations over several targets, with it and without.

    python -m bench.affinity [--json] [--targets 2] [--conversations 40] [--turns 6]

Each target is a sandbox of its own, with the automatic prompt cache of OpenAI's kind. The turns of all conversations
are interleaved, as those of many agents are; each conversation has a system prompt of some 2,000 tokens.

`affinity.cached_share`: of all prompt tokens, those read from a cache, with `balance = "affinity"`.
`affinity.cached_share_least_loaded`: the same with `balance = "least_loaded"`, which knows nothing of prompts.
`affinity.cached_share_most`: the most any choice could reach: all turns at one target.
"""

import contextlib
import json
import urllib.request
from typing import Any

from bench.figures import Figure, arguments, show
from bench.harness import LocalBursar, bursar, free_port, serving

MODEL = "gpt-4o-mini"


def config(ports: list[int]) -> str:
    """Write a configuration with one provider a port, and one model for each way of choosing."""
    providers = "".join(
        f'[providers.p{number}]\nkind = "sandbox"\nbase_url = "http://127.0.0.1:{port}/v1"\n'
        for number, port in enumerate(ports)
    )
    targets = json.dumps([f"p{number}/{MODEL}" for number in range(len(ports))])
    choices = {"affinity": targets, "least_loaded": targets, "order": json.dumps([f"p0/{MODEL}"])}
    return providers + "".join(
        f'[models.{balance}]\ntargets = {chosen}\nbalance = "{balance}"\n' for balance, chosen in choices.items()
    )


def ask(local: LocalBursar, key: str, model: str, turns: list[dict[str, str]]) -> Any:
    """Make one call and return its answer."""
    body = json.dumps({"model": model, "messages": turns, "max_tokens": 50}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{local.url}/v1/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def cached_share(local: LocalBursar, key: str, model: str, conversations: int, turns: int) -> float:
    """Hold conversations turn by turn and return the share of prompt tokens that came from a cache."""
    talks = [
        [{"role": "system", "content": f"{model} {number} " + "of the exchequer " * 470}]
        for number in range(conversations)
    ]
    cached = asked = 0
    for turn in range(turns):
        for talk in talks:
            talk.append({"role": "user", "content": f"[[output=40]] question {turn}"})
            answer = ask(local, key, model, talk)
            talk.append(answer["choices"][0]["message"])
            cached += answer["usage"]["prompt_tokens_details"]["cached_tokens"]
            asked += answer["usage"]["prompt_tokens"]
    return cached / asked


def main() -> None:
    """Run the benchmark."""
    options = arguments(__doc__, targets=2, conversations=40, turns=6)
    ports = [free_port() for _ in range(options.targets)]
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(serving(["bursar", "sandbox", "--port", str(port)], port))
        local = stack.enter_context(bursar(config(ports)))
        key = local.create_key("affinity", "100.00")
        with_it, without, most = (
            cached_share(local, key, model, options.conversations, options.turns)
            for model in ("affinity", "least_loaded", "order")
        )
    note = f"{options.conversations} conversations of {options.turns} turns over {options.targets} targets"
    figures = [
        Figure("affinity.cached_share", round(100 * with_it, 2), "%", {"hindsight PR 3271": 99.4}, note),
        Figure("affinity.cached_share_least_loaded", round(100 * without, 2), "%", {"hindsight PR 3271": 0.085}, note),
        Figure("affinity.cached_share_most", round(100 * most, 2), "%", {}, "all at one target"),
    ]
    show("affinity", figures, as_json=options.json)


if __name__ == "__main__":
    main()
