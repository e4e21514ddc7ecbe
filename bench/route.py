"""Measure the router: how well it ranks, what it saves, whether it keeps what it promises, and how fast it decides.

    python -m bench.route [--json] [--data DIR] [--only mmlu,gsm8k,nine,decision]

Reads routellm and ulab_llmrouter in --data (default ../shared/data). No question that is scored was
learned from, and no setting was chosen on one (docs/internals/lab.md says how often each set was scored).
"""

import os
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core is measured; NumPy reads this when it is loaded

import numpy as np

from bench.figures import Figure, arguments, show
from bench.routing import sets
from bench.routing.nine import nine
from bench.routing.pair import gsm8k, mmlu
from bursar.embed.table import load as load_table
from bursar.savings.route.choice import Asked, Option
from bursar.savings.route.choose import Route, choose, prepare
from bursar.savings.route.learned import Learned
from bursar.savings.route.learned import load as load_router
from bursar.savings.route.policy import Policy

PROMPT_TOKENS = 2_000
CHARS_PER_TOKEN = 4
WARM_PROMPTS = 20
ADVERSARIAL_PROMPTS = 30
NEEDED = (sets.MMLU, sets.GSM8K, sets.ULAB, sets.ULAB_TASKS, sets.ULAB_PRICES)


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, only="mmlu,gsm8k,nine,decision")
    missing = [name for name in NEEDED if not (options.data / name).exists()]
    if missing:
        raise SystemExit(f"bench.route misses {', '.join(missing)}: name the folder with --data")
    wanted, embedder = options.only.split(","), load_table()
    figures: list[Figure] = []
    if "mmlu" in wanted:
        ranking, promises = mmlu(options.data, embedder)
        figures += ranking + promises
    if "gsm8k" in wanted:
        figures += gsm8k(options.data)
    if "nine" in wanted:
        figures += nine(options.data, embedder)
    if "decision" in wanted:
        figures.append(decision(options.data))
    show("route", figures, as_json=options.json)


def decision(data: Path) -> Figure:
    """Measure a whole decision on prompts of 2,000 tokens, each new to the process; beside it the worst texts."""
    small = Option("small", 150_000_000, 600_000_000, output_tokens=200, context_tokens=128_000)
    big = Option("big", 2_500_000_000, 10_000_000_000, output_tokens=300, context_tokens=128_000)
    route = prepare(Policy(name="auto", models=("small", "big")), [small, big], Learned(load_router(), load_table()))
    prompts = _long_prompts(data)
    _timed(route, prompts[:WARM_PROMPTS])
    took, busy = _timed(route, prompts[WARM_PROMPTS:])
    p50, p99 = np.percentile(took, [50, 99])
    worst = [f"{name} {np.percentile(_timed(route, texts)[1], 99):.2f}" for name, texts in _adversarial().items()]
    note = (
        f"{len(took):,} prompts of real questions, each once, after {WARM_PROMPTS} others; p50 {p50:.2f} ms; of "
        f"processor time p50 {np.percentile(busy, 50):.2f}, p99 {np.percentile(busy, 99):.2f}; what is seen in a text "
        f"included; texts made to be slow, p99 of processor time: {', '.join(worst)}"
    )
    return Figure("route.decision_p99_ms", round(float(p99), 2), "ms", {}, note)


def _timed(route: Route, prompts: list[str]) -> tuple[list[float], list[float]]:
    """Return for each decision the milliseconds that passed, and those of the processor."""
    took: list[float] = []
    busy: list[float] = []
    for prompt in prompts:
        asked = Asked(prompt, PROMPT_TOKENS)
        begun, worked = time.perf_counter(), time.thread_time()
        choose(route, asked, "unit")
        took.append((time.perf_counter() - begun) * 1e3)
        busy.append((time.thread_time() - worked) * 1e3)
    return took, busy


def _long_prompts(data: Path) -> list[str]:
    """Join all questions to prompts of 2,000 tokens by four characters a token: no text is in two of them."""
    text = "\n\n".join(sets.mmlu(data).prompts)
    size = PROMPT_TOKENS * CHARS_PER_TOKEN
    return [text[start : start + size] for start in range(0, len(text) - size, size)]


def _adversarial() -> dict[str, list[str]]:
    """Return texts of as many characters that hold what is slow to read, none of them twice."""
    generator = np.random.default_rng(6)
    size = PROMPT_TOKENS * CHARS_PER_TOKEN
    letters = generator.integers(97, 123, (ADVERSARIAL_PROMPTS, size))
    points = generator.integers(0x21, 0x2FFF, (ADVERSARIAL_PROMPTS, size))
    gaps = np.where(np.arange(size) % 10 == 9, 32, letters)
    ideographs = generator.integers(0x4E00, 0x9FFF, (ADVERSARIAL_PROMPTS, size))
    digits = np.where(np.arange(size) % 10 == 9, 32, generator.integers(48, 58, (ADVERSARIAL_PROMPTS, size)))
    plain = generator.integers(0x21, 0x7F, (ADVERSARIAL_PROMPTS, size))
    return {
        "words never seen": ["".join(map(chr, row)) for row in gaps.tolist()],
        "signs of all scripts": ["".join(map(chr, row)) for row in points.tolist()],
        "ideographs": ["".join(map(chr, row)) for row in ideographs.tolist()],
        "numbers": ["".join(map(chr, row)) for row in digits.tolist()],
        "plain signs": ["".join(map(chr, row)) for row in plain.tolist()],
        "line ends": ["\n" * (size - place) for place in range(ADVERSARIAL_PROMPTS)],
        "lettered answers": ["A. \n" * (size // 4 - place) for place in range(ADVERSARIAL_PROMPTS)],
    }


if __name__ == "__main__":
    main()
