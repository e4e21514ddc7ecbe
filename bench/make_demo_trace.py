"""Cut the slice of Azure's conversation trace that `bursar demo` replays.

    python -m bench.make_demo_trace [--data DIR]

The trace (AzureLLMInferenceTrace_conv.csv, CC BY 4.0) may ship with its notice; the slice is its first 1,500 requests
as `milliseconds since the first, context tokens, generated tokens`.
"""

import argparse
import csv
from datetime import datetime
from pathlib import Path

ROWS = 1_500
TARGET = Path(__file__).parent.parent / "src/bursar/cli/data/azure_conv_2023.csv"


def main() -> None:
    """Write the slice."""
    parser = argparse.ArgumentParser(description="Cut the demo's slice of Azure's conversation trace.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    source = parser.parse_args().data / "azure_llm_2023" / "AzureLLMInferenceTrace_conv.csv"
    with source.open(newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(ROWS), strict=False)]
    first = datetime.fromisoformat(rows[0]["TIMESTAMP"][:26])
    lines = ["ms,context_tokens,generated_tokens"]
    for row in rows:
        at = datetime.fromisoformat(row["TIMESTAMP"][:26])
        lines.append(f"{round((at - first).total_seconds() * 1000)},{row['ContextTokens']},{row['GeneratedTokens']}")
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
