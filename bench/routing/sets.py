"""Read the sets of routing: questions with how good each model's answer was."""

import csv
import hashlib
import json
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WEAK = "mistralai/Mixtral-8x7B-Instruct-v0.1"
STRONG = "gpt-4-1106-preview"
MMLU = "routellm/mmlu/responses"
GSM8K = "routellm/gsm8k/gsm8k_responses.csv"
MT_BENCH = "routellm/mt_bench/judgements.jsonl"
ULAB = "ulab_llmrouter/dcrouter_preprocessed/train.json"
ULAB_TASKS = "ulab_llmrouter/example_data/query_data/default_query_train.jsonl"
ULAB_PRICES = "ulab_llmrouter/example_data/llm_candidates/default_llm.json"


class Set(msgspec.Struct, frozen=True):
    """Hold questions, scores (rows, models), and the group each belongs to: a subject or a task."""

    prompts: list[str]
    models: tuple[str, ...]
    scores: Floats
    groups: npt.NDArray[np.str_]

    def rows(self, places: npt.NDArray[np.int64]) -> "Set":
        """Return the rows at these places."""
        return Set([self.prompts[each] for each in places], self.models, self.scores[places], self.groups[places])


def mmlu(data: Path, *, all_rows: bool = False) -> Set:
    """Read MMLU's 14,037 questions; with those RouteLLM drops as contaminated, 14,042."""
    dropped = set() if all_rows else _contaminated(data / "routellm/mmlu/contaminated_prompts.jsonl")
    rows = [
        (row, path.stem.removeprefix("mmlu_"))
        for path in sorted((data / MMLU).glob("*.csv"))
        for row in _csv(path)
        if row["prompt"] not in dropped
    ]
    return _pair([row for row, _ in rows], [subject for _, subject in rows])


def gsm8k(data: Path, *, all_rows: bool = False) -> Set:
    """Read GSM8K's 1,307 questions; with the contaminated ones 1,319."""
    dropped = set() if all_rows else _contaminated(data / "routellm/gsm8k/contaminated_prompts.jsonl")
    rows = [row for row in _csv(data / GSM8K) if row["prompt"] not in dropped]
    return _pair(rows, ["gsm8k"] * len(rows))


def nine(data: Path) -> Set:
    """Read the nine-model set, 5,608 questions of 14 tasks."""
    rows = json.loads((data / ULAB).read_text())
    models = tuple(sorted(rows[0]["scores"]))
    tasks: dict[str, str] = {}
    # Rows hold separators that splitlines() breaks at.
    for line in (data / ULAB_TASKS).read_bytes().decode().split("\n"):
        if line:
            row = json.loads(line)
            tasks.setdefault(row["query"], row["task_name"])
    return Set(
        [row["question"] for row in rows],
        models,
        np.array([[row["scores"][model] for model in models] for row in rows], np.float64),
        np.array([tasks[row["question"]] for row in rows]),
    )


def nine_prices(data: Path) -> dict[str, tuple[float, float]]:
    """Read the nine models' prices of input and output, USD per million tokens."""
    rows = json.loads((data / ULAB_PRICES).read_text())
    return {model: (row["input_price"], row["output_price"]) for model, row in rows.items()}


def _pair(rows: list[dict[str, str]], groups: list[str]) -> Set:
    scores = [[float(row[model] == "True") for model in (WEAK, STRONG)] for row in rows]
    return Set([row["prompt"] for row in rows], (WEAK, STRONG), np.array(scores), np.array(groups))


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _contaminated(path: Path) -> set[str]:
    return {json.loads(line)["eval_prompt"] for line in path.read_text().split("\n") if line}


def sha256(path: Path) -> str:
    """Return the first letters of a file's SHA-256; of a folder, of its files in the order of their names."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
