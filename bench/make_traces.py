"""Cut the two hours of requests that ship with the simulator from Azure's traces.

    python -m bench.make_traces [--data DIR]

Both (CC BY 4.0) may ship with their notice: a row is `milliseconds since the one before, tokens in, tokens out`, and
the file is gzip without a date, so that it is the same whenever it is made.
"""

import argparse
import csv
import gzip
from datetime import datetime
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/bursar/simulate/data"


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description="Cut the traces that ship with the simulator.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    folder = parser.parse_args().data / "azure_llm_2023"
    for kind in ("code", "conv"):
        with (folder / f"AzureLLMInferenceTrace_{kind}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        moments = [datetime.fromisoformat(row["TIMESTAMP"][:26]) for row in rows]
        since_ms = [round((at - moments[0]).total_seconds() * 1000) for at in moments]
        lines = ["ms_since_last,input_tokens,output_tokens"]
        for row, at_ms, before_ms in zip(rows, since_ms, [0, *since_ms], strict=False):
            lines.append(f"{at_ms - before_ms},{row['ContextTokens']},{row['GeneratedTokens']}")
        text = "\n".join(lines) + "\n"
        (TARGET / f"azure_{kind}_2023.csv.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
