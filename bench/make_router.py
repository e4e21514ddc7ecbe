"""Make the router that ships: coefficients trained on labels that may ship, of a weak and a strong model.

    python -m bench.make_router [--data DIR] [--rows N]

Reads routellm and ulab_llmrouter in --data (default ../shared/data); their SOURCE.md names origins and licences. Of the
questions nothing is kept but what the coefficients hold.
"""

from pathlib import Path

import numpy as np

from bench.figures import arguments
from bench.routing.sets import WEAK, gsm8k, mmlu, nine
from bursar.embed.table import load as load_table
from bursar.savings.route.labels import Label, Labels, labels_of
from bursar.savings.route.router import write_router
from bursar.savings.route.train import About, train

OUT = Path(__file__).parent.parent / "src/bursar/savings/route/data/router.json"
NINE_WEAK = "mistral-7b-instruct-v0.3"
NINE_STRONG = "llama-3.1-nemotron-51b-instruct"
SEED = 6
TRAINED = "2026-11-22"
SHARES = {"mmlu": 0.5, "gsm8k": 0.2, "nine": 0.3}

ABOUT = About(
    trained_on=(
        "RouteLLM's graded answers of Mixtral-8x7B (weak) and gpt-4-1106-preview (strong) to MMLU and GSM8K, and "
        "LLMRouter's of Mistral-7B-v0.3 (weak) and Nemotron-51B (strong) to 14 tasks; a sample"
    ),
    trained=TRAINED,
    limits=(
        "English questions with one right answer, of 2023 and 2024 models. Its weak and strong model are none of "
        "yours: what it expects of them is a guess by strength or price, and no promise. It has seen no conversations, "
        "no long documents and no tools."
    ),
    licence="coefficients from RouteLLM (Apache-2.0; questions MIT) and LLMRouter (MIT)",
    placed=True,
)


def main() -> None:
    """Train and write."""
    options = arguments(__doc__, rows=3_000)
    trained = train(labels(options.data, int(options.rows)), load_table(), ABOUT, seed=SEED)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(write_router(trained.router))
    print(trained.router.card)
    print(f"{OUT.name}: {OUT.stat().st_size / 1e6:.2f} MB")


def labels(data: Path, rows: int) -> Labels:
    """Draw the labels of a weak and a strong model."""
    pool = {"mmlu": mmlu(data), "gsm8k": gsm8k(data), "nine": nine(data)}
    found: list[Label] = []
    for name, share in SHARES.items():
        held = pool[name]
        weak, strong = (WEAK, held.models[1]) if name != "nine" else (NINE_WEAK, NINE_STRONG)
        columns = [held.models.index(weak), held.models.index(strong)]
        places = np.random.default_rng(SEED).permutation(len(held.prompts))[: round(rows * share)]
        found += [
            Label(
                prompt=held.prompts[each],
                scores=dict(zip(("weak", "strong"), held.scores[each, columns].tolist(), strict=True)),
            )
            for each in places
        ]
    return labels_of([found[each] for each in np.random.default_rng(SEED).permutation(len(found))])


if __name__ == "__main__":
    main()
