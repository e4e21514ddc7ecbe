"""Describe an accelerator by its data sheet: peaks, memory, power and links."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BITS_OF: Final[Mapping[str, float]] = {
    "fp32": 32, "bf16": 16, "fp8": 8, "fp8_block": 8, "int8": 8, "fp4": 4.25, "int4": 4.25
}  # fmt: skip
"""Bits an element takes in each format; the four-bit ones carry a scale for each block of 32.

`fp8_block` is `fp8` with a scale for each block of 128 by 128 weights, which many engines compute more slowly.
"""


@dataclass(frozen=True, slots=True)
class Chip:
    """Hold what a data sheet says of one accelerator. Peaks are dense: no structured sparsity.

    `flops_per_s` holds a peak for each format that the chip computes in; `link_bytes_per_s` is one direction to the
    other chips of its node, `host_bytes_per_s` one to the memory of its host. `source` names where the figures are
    from, `checked` the day they were read.
    """

    name: str
    memory_bytes: int
    memory_bytes_per_s: float
    flops_per_s: Mapping[str, float]
    power_limit_w: float
    power_idle_w: float
    link_bytes_per_s: float
    host_bytes_per_s: float
    chips_per_node: int
    source: str
    checked: str

    def peak_flops_per_s(self, precision: str) -> float:
        """Give the peak in a format; a narrower format the chip has no units for is computed in bf16."""
        return self.flops_per_s.get(precision.removesuffix("_block")) or self.flops_per_s["bf16"]
