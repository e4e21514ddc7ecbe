"""Volume discounts and free allowances go on where they were after a restart."""

import json
import urllib.request
from pathlib import Path

from bench.harness import LocalBursar
from bursar.core.money import usd_to_nano

CONFIG = """
[providers.sandbox]
kind = "sandbox"
prices = "house"

[models.counted]
targets = ["sandbox/counted"]

[[prices]]
provider = "house"
model = "counted"
input = "1"
output = "1"
volume = { period = "total", free = { output = 100 } }
"""


def ask(bursar: LocalBursar, secret: str, output: int) -> int:
    """Ask for an output, and return what it cost in nano-USD."""
    turn = {"role": "user", "content": f"[[output={output}]]"}
    body = json.dumps({"model": "counted", "messages": [turn], "max_tokens": 400}).encode()
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    request = urllib.request.Request(f"{bursar.url}/v1/chat/completions", body, headers)
    with urllib.request.urlopen(request) as answer:
        usage = json.load(answer)["usage"]
        assert usage["completion_tokens"] == output
        cost = answer.headers["x-bursar-cost-usd"]
    return usd_to_nano(cost) - usage["prompt_tokens"] * 1_000


def test_a_free_allowance_is_used_up_once_also_across_a_restart(tmp_path: Path) -> None:
    bursar = LocalBursar(CONFIG, data=tmp_path)
    bursar.start()
    secret = bursar.create_key("counting")
    assert ask(bursar, secret, 70) == 0
    assert bursar.stop() == 0
    bursar.start()
    assert ask(bursar, secret, 70) == 40_000
    assert ask(bursar, secret, 10) == 10_000
    assert bursar.stop() == 0
