"""Measure compression without loss: what tables save, that nothing ever grows, that keys and values survive, how fast.

    python -m bench.compress_lossless [--json] [--data DIR] [--toon FOLDER]

Tokens are counted with o200k_base. Documents are given as compact JSON, so that taking out white space saves nothing,
and as what a tool gave back. `compress.tabular_saving_pct` is over all tokens of the sets of rows together; the note
has each. `compress.worst_pct` is the least saved on any document or text: 0 is no change, less than 0 would be longer.
Every result is restored and compared. TOON stands beside where `--toon` names a folder in which
`npm install @toon-format/toon` was run and there is a node: the same documents, with the delimiter it takes by itself.
How well models read either is not measured here. Speed is by the processor's time, on one core.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, Final

from bench.compress_tables import SEED, digests, documents, tables, texts
from bench.figures import Figure, arguments, show
from bursar.savings.compress.json_text import read_whole, write
from bursar.savings.compress.lossless import lossless
from bursar.savings.compress.restoring import restore
from bursar.tokens.exact import DEFAULT, counter
from bursar.wires.parts import Kind, Part

ROUNDS: Final = 3
TOON: Final = """
import { encode } from '@toon-format/toon'
import { readFileSync } from 'node:fs'
const given = JSON.parse(readFileSync(0, 'utf8'))
process.stdout.write(JSON.stringify(given.map(each => encode(each))))
"""


def compact(value: Any) -> str:
    """Write a value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def compressed(text: str, count: Callable[[str], int]) -> str:
    """Compress a text as what a tool gave back; what is JSON must come back as it was."""
    found = lossless([Part(text, Kind.retrieved)], count)
    (back,) = restore(found)
    try:
        value = read_whole(text)
    except ValueError:
        return found.texts[0]
    assert write(read_whole(back)) == write(value), "it came back as another"
    return found.texts[0]


def saving_pct(before: int, after: int) -> float:
    """Return what part was saved, in percent."""
    return round(100 * (1 - after / before), 1) if before else 0.0


def toon(values: list[Any], folder: Path | None) -> list[str] | None:
    """Return what TOON writes for values; None where it is not there."""
    node = shutil.which("node")
    if folder is None or node is None:
        return None
    command = [node, "--input-type=module", "-e", TOON]
    done = subprocess.run(
        command, input=compact(values).encode(), capture_output=True, check=True, cwd=folder, timeout=300
    )
    return json.loads(done.stdout)


def tabular(data: Path, folder: Path | None, count: Callable[[str], int]) -> Figure:
    """Measure what tables save."""
    sets = tables(data)
    others = toon(list(sets.values()), folder) or []
    before = [count(compact(value)) for value in sets.values()]
    after = [count(compressed(compact(value), count)) for value in sets.values()]
    beside = list(map(count, others))
    each = [
        f"{name} {saving_pct(was, now)}" + (f" (TOON {saving_pct(was, beside[place])})" if beside else "")
        for place, (name, was, now) in enumerate(zip(sets, before, after, strict=True))
    ]
    average = mean(saving_pct(was, now) for was, now in zip(before, after, strict=True))
    note = (
        f"{sum(before):,} tokens, mean of sets {average:.1f}; {'; '.join(each)}; seed {SEED}; sha256: {digests(data)}"
    )
    anchors = {"TOON": saving_pct(sum(before), sum(beside))} if beside else {}
    return Figure("compress.tabular_saving_pct", saving_pct(sum(before), sum(after)), "%", anchors, note)


def worst(data: Path, folder: Path | None, count: Callable[[str], int]) -> Figure:
    """Find the document or text on which the least is saved."""
    values = tables(data) | documents(data)
    given = {name: compact(value) for name, value in values.items()} | texts(data)
    pretty = {f"{name}, indented": json.dumps(value, indent=2) for name, value in values.items()}
    found = {name: saving_pct(count(text), count(compressed(text, count))) for name, text in (given | pretty).items()}
    least = min(found, key=lambda name: found[name])
    unchanged = sum(each == 0 for each in found.values())
    note = f"{least}; of {len(found)} texts {unchanged} unchanged; seed {SEED}"
    others = toon(list(values.values()), folder)
    if others is None:
        return Figure("compress.worst_pct", found[least], "%", note=note)
    beside = {
        name: saving_pct(count(given[name]), count(text))
        for name, text in zip(values, others, strict=True)
        if not name.startswith(("drawn", "tiny", "empty"))
    }
    larger = ", ".join(f"{name} {pct}" for name, pct in sorted(beside.items(), key=lambda each: each[1]) if pct < 0)
    note += f"; TOON, without the smallest, on {larger}"
    return Figure("compress.worst_pct", found[least], "%", {"TOON": min(beside.values())}, note)


def pairs(data: Path, count: Callable[[str], int]) -> Figure:
    """Tell in how many of the key-value prompts the key asked for still leads to its value."""
    kept = asked = before = after = 0
    for file in ("kv-retrieval-75_keys.jsonl", "kv-retrieval-140_keys.jsonl"):
        for line in (data / "nq_oracle_and_kv" / file).open():
            row = json.loads(line)
            text = json.dumps(dict(row["ordered_kv_records"]), indent=1)
            found = lossless([Part(text, Kind.retrieved)], count)
            sent = found.texts[0]
            at = sent.find(row["key"])
            kept += at >= 0 and sent.find(row["value"], at) - at < 2 * len(row["key"])
            kept -= json.loads(restore(found)[0])[row["key"]] != row["value"]
            asked += 1
            before += found.tokens_before
            after += found.tokens_after
    note = f"n {asked}; {saving_pct(before, after)} % fewer tokens than indented by one blank, as they were asked"
    return Figure("compress.kv_kept_pct", round(100 * kept / asked, 1), "%", note=note)


def speed(data: Path, count: Callable[[str], int]) -> Figure:
    """Measure the stage's speed, counting tokens and proving each change included; the best of some rounds."""
    given = {
        "indented JSON of rows": [json.dumps(value, indent=2) for value in tables(data).values()],
        "other JSON": [compact(value) for value in documents(data).values()],
        "texts": list(texts(data).values()),
    }
    rates = {}
    for name, each in given.items():
        parts = [Part(text, Kind.retrieved) for text in each]
        size = sum(len(text.encode()) for text in each)
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            lossless(parts, count)
            times.append(time.process_time() - began)
        rates[name] = (size / 1e6, min(times))
    whole = sum(size for size, _ in rates.values()) / sum(spent for _, spent in rates.values())
    note = "; ".join(f"{name} {size / spent:.1f} ({size:.1f} MB)" for name, (size, spent) in rates.items())
    return Figure("compress.lossless_mb_per_s", round(whole, 1), "MB/s", note=f"{note}; {DEFAULT} counts")


def figures(data: Path, folder: Path | None = None) -> list[Figure]:
    """Measure all of it; `folder` is where TOON is installed."""
    count = counter()
    return [tabular(data, folder, count), worst(data, folder, count), pairs(data, count), speed(data, count)]


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, toon="")
    show("compress", figures(options.data, Path(options.toon) if options.toon else None), as_json=options.json)


if __name__ == "__main__":
    main()
