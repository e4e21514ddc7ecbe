"""Make the table that tells fields of knowledge apart: directions of a text's vector, from WordNet's topics.

    python -m bench.make_fields --data DIR

Reads data.noun, data.verb, data.adj and data.adv of WordNet 3.0 in --data (Debian's package wordnet-base holds them).
Entries point to the topic they belong to: law, physics, music. Kept are the directions in which the entries of topics
lie apart, measured in how far entries of one topic scatter; of the entries nothing is kept.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.figures import arguments
from bursar.embed.table import load
from bursar.savings.route.fields import FIELDS

OUT = Path(__file__).parent.parent / "src/bursar/savings/route/data/fields.npz"
KINDS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
ENTRIES_MIN = 12
RIDGE = 0.5  # of the mean variance, beside the scatter

Floats = npt.NDArray[np.float64]


def main() -> None:
    """Read, part and write."""
    embedder = load()
    texts, topics = entries(arguments(__doc__).data)
    found = directions(embedder.vectors(texts).astype(np.float64), np.array(topics))
    np.savez(OUT, directions=found.astype("<f4"), embedder=np.array(embedder.name))
    print(f"{OUT.name}: {len(set(topics))} topics of {len(texts):,} entries, {OUT.stat().st_size / 1e3:.0f} kB")


def entries(folder: Path) -> tuple[list[str], list[int]]:
    """Return the text of each entry that belongs to a topic, and the topic's number."""
    texts: dict[tuple[str, str], str] = {}
    members: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for name, kind in KINDS.items():
        for line in (folder / f"data.{name}").read_text().splitlines():
            if line.startswith(" "):
                continue  # the licence
            head, _, gloss = line.partition("|")
            fields = head.split()
            key, words = (kind, fields[0]), int(fields[3], 16)
            texts[key] = (
                ", ".join(word.replace("_", " ") for word in fields[4 : 4 + 2 * words : 2]) + f": {gloss.strip()}"
            )
            pointers = fields[5 + 2 * words :]
            for place in range(0, 4 * int(fields[4 + 2 * words]), 4):
                if pointers[place] == ";c":
                    members[pointers[place + 2], pointers[place + 1]].append(key)
    kept = [(topic, keys) for topic, keys in members.items() if len(keys) >= ENTRIES_MIN]
    pairs = [(texts[key], number) for number, (topic, keys) in enumerate(kept) for key in (*keys, topic)]
    return [text for text, _ in pairs], [number for _, number in pairs]


def directions(vectors: Floats, topics: npt.NDArray[np.int64]) -> Floats:
    """Return the directions that part topics most, (dimensions, fields)."""
    centres = np.array([vectors[topics == topic].mean(axis=0) for topic in range(topics.max() + 1)])
    scatter = np.cov((vectors - centres[topics]).T)
    scatter += RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    whitening = np.linalg.cholesky(np.linalg.inv(scatter))
    apart = (centres - centres.mean(axis=0)) @ whitening
    return whitening @ np.linalg.svd(apart, full_matrices=False)[2][:FIELDS].T


if __name__ == "__main__":
    main()
