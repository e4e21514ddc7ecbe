"""Write the chips' data sheets as package data, from aiconfigurator's system files and the makers' own sheets.

    python -m bench.make_chips [--data DIR]

Memory, bandwidth, peaks, power limits and links of NVIDIA's chips are aiconfigurator's; those of other makers, and the
idle power of all, are in `OWN` below with their source. Prints the SHA-256 of what it read.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from bench.figures import arguments

TARGET = Path(__file__).parents[1] / "src/bursar/physics/data/chips.json"
ORIGIN = "aiconfigurator systems/ at 095f58a (Apache-2.0)"
NAMES = {
    "a30": "A30",
    "a100_pcie": "A100-PCIE",
    "a100_sxm": "A100",
    "b200_sxm": "B200",
    "b300_sxm": "B300",
    "gb200": "GB200",
    "gb300": "GB300",
    "h100_pcie": "H100-PCIE",
    "h100_sxm": "H100",
    "h200_sxm": "H200",
    "l4": "L4",
    "l40s": "L40S",
    "rtx_pro_6000_server": "RTXPRO6000",
}
# Read with nothing resident: H100 64 W in NVIDIA's DGX manual (Redfish sample, cold), H200 80 W in an attested run
# (serialalice.pt). The others are set by limit and generation, which their source says.
IDLE_W = {
    "A30": 30,
    "A100-PCIE": 45,
    "A100": 55,
    "B200": 140,
    "B300": 150,
    "GB200": 160,
    "GB300": 170,
    "H100-PCIE": 50,
    "H100": 70,
    "H200": 80,
    "L4": 17,
    "L40S": 35,
    "RTXPRO6000": 40,
}
READ = ("H100", "H200")
OWN: dict[str, dict[str, Any]] = {
    "MI300X": {
        "memory_bytes": 192 * 2**30,
        "memory_bytes_per_s": 5.3e12,
        "flops_per_s": {"bf16": 1307.4e12, "fp8": 2614.9e12},
        "power_limit_w": 750,
        "power_idle_w": 140,
        "link_bytes_per_s": 448e9,
        "host_bytes_per_s": 64e9,
        "chips_per_node": 8,
        "source": "AMD Instinct MI300X data sheet; links 7 x 128 GB/s both ways; idle power by generation",
        "checked": "2026-11-22",
    },
    "MI355X": {
        "memory_bytes": 288 * 2**30,
        "memory_bytes_per_s": 8.0e12,
        "flops_per_s": {"bf16": 2516.6e12, "fp8": 5033.2e12, "fp4": 10066.3e12},
        "power_limit_w": 1400,
        "power_idle_w": 200,
        "link_bytes_per_s": 537.6e9,
        "host_bytes_per_s": 64e9,
        "chips_per_node": 8,
        "source": "AMD Instinct MI355X data sheet; links 7 x 153.6 GB/s both ways; idle power by generation",
        "checked": "2026-11-22",
    },
    "RTX4090": {
        "memory_bytes": 24 * 2**30,
        "memory_bytes_per_s": 1.008e12,
        "flops_per_s": {"bf16": 165.2e12, "fp8": 330.3e12},
        "power_limit_w": 450,
        "power_idle_w": 20,
        "link_bytes_per_s": 32e9,
        "host_bytes_per_s": 32e9,
        "chips_per_node": 8,
        "source": "NVIDIA Ada GPU architecture white paper, fp32 accumulation",
        "checked": "2026-11-22",
    },
    "LAPTOP-CPU": {
        "memory_bytes": 32 * 2**30,
        "memory_bytes_per_s": 89.6e9,
        "flops_per_s": {"bf16": 1.5e12},
        "power_limit_w": 45,
        "power_idle_w": 5,
        "link_bytes_per_s": 1e9,
        "host_bytes_per_s": 89.6e9,
        "chips_per_node": 1,
        "source": "two channels of DDR5-5600; eight cores with AVX-512 at 3 GHz",
        "checked": "2026-11-22",
    },
}


def chip(path: Path) -> dict[str, Any]:
    """Read one system file."""
    system = yaml.safe_load(path.read_text())
    gpu, node = system["gpu"], system["node"]
    peaks = {"bf16": "bfloat16_tc_flops", "fp8": "fp8_tc_flops", "fp4": "fp4_tc_flops"}
    return {
        "memory_bytes": gpu["mem_capacity"],
        "memory_bytes_per_s": float(gpu["mem_bw"]),
        "flops_per_s": {name: float(gpu[key]) for name, key in peaks.items() if gpu.get(key)},
        "power_limit_w": gpu["power"],
        "power_idle_w": IDLE_W[NAMES[path.stem]],
        "link_bytes_per_s": float(node["intra_node_bw"]),
        "host_bytes_per_s": float(node["pcie_bw"]),
        "chips_per_node": node.get("num_gpus_per_rack") or node["num_gpus_per_node"],
        "source": ORIGIN if NAMES[path.stem] in READ else f"{ORIGIN}; idle power by generation, nobody's reading",
        "checked": "2026-08-21",
    }


def main() -> None:
    """Write the file."""
    folder = arguments(__doc__).data / "aiconfigurator/systems"
    paths = [path for path in sorted(folder.glob("*.yaml")) if path.stem in NAMES]
    found = {NAMES[path.stem]: chip(path) for path in paths} | OWN
    TARGET.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    print(f"{len(found)} chips; {len(paths)} system files, SHA-256 {digest}")


if __name__ == "__main__":
    main()
