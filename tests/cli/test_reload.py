"""A configuration that changes while calls go on: taken in, refused, and checked before anything is served."""

import json
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from bench.harness import LocalBursar, bursar
from tests.asking import SANDBOX, ask, fetch
from tests.cli.test_drain import stream, wait_for

CONFIG = SANDBOX + '[gateway]\ndurability = "fast"\noutput_cap = 100\n'
ALIAS = """
[models."alias"]
targets = ["sandbox/gpt-4o"]
"""


def test_a_changed_file_is_taken_in_without_dropping_a_call_and_a_wrong_one_is_refused() -> None:
    with bursar(CONFIG) as local:
        file = local.data / "bursar.toml"
        key = local.create_key("reload", "10.00")
        assert ask(local, key, model="alias").status == 404
        names, wholes = list[str](), list[bool]()
        caller = threading.Thread(target=stream, args=(local, key, "[[output=100 tpot_ms=15]]", names, wholes))
        caller.start()
        wait_for(lambda: names)
        file.write_text(CONFIG.replace('"fast"', '"strict"\nmetrics_from = ["10.0.0.0/8"]') + ALIAS)
        assert fetch(local, "GET", "/metrics").status == 200
        said = local.command("reload")
        assert said.splitlines()[1] == "but for what waits for the next start: gateway.durability"
        wait_for(lambda: ask(local, key, model="alias").status == 200)
        metrics = fetch(local, "GET", "/metrics")
        assert (metrics.status, metrics.json()["error"]["code"]) == (403, "address_not_allowed")
        caller.join()
        assert wholes == [True]
        assert '"at_next_start": ["gateway.durability"]' in local.last_words()
        file.write_text(CONFIG + ALIAS.replace("targets", "target"))
        with pytest.raises(subprocess.CalledProcessError) as refused:
            local.command("reload")
        assert refused.value.returncode == 1
        assert "refused, and everything stays as it was: " in refused.value.stderr
        assert "unknown setting models.alias.target; near: targets" in refused.value.stderr
        wait_for(lambda: "config.refused" in local.last_words())
        assert "unknown setting models.alias.target; near: targets" in local.last_words()
        assert ask(local, key, model="alias").status == 200
        change(local, file, CONFIG + ALIAS)  # as whoever has the process at hand does
        wait_for(lambda: local.last_words().count("config.reloaded") == 2)
        assert json.loads(local.command("reload", "--json"))["at_next_start"] == []
        file.write_text(CONFIG + ALIAS.replace("targets", "target"))
        local.kill("worker")  # the one that follows goes by the file that was taken, not by the wrong one
        wait_for(local.ready)
        assert ask(local, key, model="alias").status == 200
        assert local.stop() == 0, local.last_words()
        with pytest.raises(subprocess.CalledProcessError) as nobody:
            local.command("reload")
        assert "no Bursar runs in" in nobody.value.stderr


def change(local: LocalBursar, file: Path, text: str) -> None:
    assert local.process is not None
    file.write_text(text)
    local.process.send_signal(signal.SIGHUP)


def test_a_model_without_a_price_is_reported_by_the_command_itself() -> None:
    local = LocalBursar(CONFIG + '\n[models."made-up"]\ntargets = ["sandbox/made-up"]\n')
    try:
        with pytest.raises(RuntimeError, match="bursar up ended with 1") as caught:
            local.start()
        assert "bursar.toml: models.made-up: no price for model" in str(caught.value)
        assert "child.failed" not in str(caught.value)
    finally:
        local.remove()
