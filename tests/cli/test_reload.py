"""A configuration that changes while calls go on: taken in, refused, and checked before anything is served."""

import signal
import threading
from pathlib import Path

import pytest

from bench.harness import LocalBursar
from tests.asking import ask
from tests.cli.test_drain import stream, wait_for

CONFIG = """
[gateway]
durability = "fast"
output_cap = 100

[providers.sandbox]
kind = "sandbox"

[models."gpt-4o-mini"]
targets = ["sandbox/gpt-4o-mini"]
"""
ALIAS = """
[models."alias"]
targets = ["sandbox/gpt-4o"]
"""


def test_a_changed_file_is_taken_in_without_dropping_a_call_and_a_wrong_one_is_refused() -> None:
    local = LocalBursar(CONFIG)
    file = local.data / "bursar.toml"
    try:
        local.start()
        key = local.create_key("reload", "10.00")
        assert ask(local, key, model="alias").status == 404
        names, wholes = list[str](), list[bool]()
        caller = threading.Thread(target=stream, args=(local, key, "[[output=100 tpot_ms=15]]", names, wholes))
        caller.start()
        wait_for(lambda: names)
        change(local, file, CONFIG.replace("fast", "strict") + ALIAS)
        wait_for(lambda: ask(local, key, model="alias").status == 200)
        caller.join()
        assert wholes == [True]
        assert '"at_next_start": ["gateway.durability"]' in local.last_words()
        change(local, file, CONFIG + ALIAS.replace("targets", "target"))
        wait_for(lambda: "config.refused" in local.last_words())
        assert "unknown setting models.alias.target; near: targets" in local.last_words()
        assert ask(local, key, model="alias").status == 200
        local.kill("worker")  # the one that follows goes by the file that was taken, not by the wrong one
        wait_for(local.ready)
        assert ask(local, key, model="alias").status == 200
        assert local.stop() == 0, local.last_words()
    finally:
        if local.process is not None and local.process.poll() is None:
            local.kill_all()
        local.remove()


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
