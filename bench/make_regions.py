"""Write the carbon of electricity as package data: a year's average by country.

    python -m bench.make_regions [--data DIR]

Figures are codecarbon's (MIT), location-based, each with its year. Its cloud regions are left out: they have no year.
Prints the SHA-256 of what it read.
"""

import hashlib
import json
from pathlib import Path
from typing import Final

from bench.figures import arguments

TARGET: Final = Path(__file__).parents[1] / "src/bursar/physics/data/regions.json"
SOURCE: Final = "codecarbon at b05965e (MIT), global_energy_mix.json"


def main() -> None:
    """Read the mixes and write a row a country."""
    mixes = (arguments(__doc__).data / "codecarbon/global_energy_mix.json").read_bytes()
    found = {
        code: {
            "place": mix["country_name"],
            "carbon_g_per_kwh": round(mix["carbon_intensity"], 1),
            "year": mix["year"],
            "source": SOURCE,
        }
        for code, mix in sorted(json.loads(mixes).items())
        if mix.get("carbon_intensity")
    }
    TARGET.write_text(json.dumps(found, separators=(",", ":"), ensure_ascii=False).replace('},"', '},\n"') + "\n")
    print(f"{len(found)} countries, SHA-256 {hashlib.sha256(mixes).hexdigest()}")


if __name__ == "__main__":
    main()
