"""A prompt is compressed from the command line: texts, folders, and bodies of chat requests."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.outcome import Cli

BRIDGES = """Tower Bridge
Tower Bridge crosses the Thames in London. It was opened in 1894 by the Prince of Wales. It is painted blue.

Eiffel Tower
The Eiffel Tower is a lattice tower in Paris. It was completed in 1889. Its lifts carry seven million visitors a year.
"""
ASKED = ("--question", "when was tower bridge opened", "--ratio", "3")


@pytest.fixture
def bridges(tmp_path: Path) -> Path:
    file = tmp_path / "bridges.txt"
    file.write_text(BRIDGES)
    return file


def test_what_answers_is_printed_and_beside_it_what_it_took(bare_cli: Cli, bridges: Path) -> None:
    outcome = bare_cli("compress", str(bridges), *ASKED)
    assert (outcome.code, outcome.out) == (0, "Tower Bridge\nIt was opened in 1894 by the Prince of Wales.\n")
    assert outcome.err.startswith("60 tokens before, ")


def test_as_json_with_every_removal_and_what_it_saves(bare_cli: Cli, bridges: Path) -> None:
    found = bare_cli("compress", str(bridges), *ASKED, "--json", "--model", "gpt-4o").json()
    assert found["tokens_before"] == 60
    assert Decimal(found["saved_usd"]) == (60 - found["tokens_after"]) * Decimal("2.50") / 1_000_000
    text = found["texts"][0]["text"]
    for removal in reversed(found["removals"]):
        assert removal["why"]
    assert "1894" in text
    assert "Paris" not in text


def test_side_by_side_says_what_went_and_why(bare_cli: Cli, bridges: Path) -> None:
    outcome = bare_cli("compress", str(bridges), *ASKED, "--diff", "--words-only")
    assert "before" in outcome.out
    assert "the question does not" in outcome.out
    assert outcome.out.count("opened in 1894") == 2
    assert outcome.out.count("lattice") == 1


def test_markup_goes_where_it_is_asked_for_and_is_shown(bare_cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<!doctype html><title>Toll</title><p class='x'>Opened in <b>1894</b>.</p>")
    assert bare_cli("compress", str(file)).out == file.read_text() + "\n"
    outcome = bare_cli("compress", str(file), "--markup")
    assert (outcome.code, outcome.out) == (0, "Toll\n\nOpened in 1894.\n")
    (removal,) = bare_cli("compress", str(file), "--markup", "--json").json()["removals"]
    assert (removal["why"], removal["start"]) == ("HTML as text", 0)
    refused = bare_cli("compress", str(file), "--markup", "--as-gateway", "gpt-4o")
    assert refused.code != 0
    assert "--as-gateway goes by bursar.toml" in refused.err


def test_a_folder_is_a_set_of_documents(bare_cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    for name, text in zip("ab", BRIDGES.split("\n\n"), strict=True):
        (folder / f"{name}.txt").write_text(text)
    outcome = bare_cli("compress", str(folder), *ASKED)
    assert outcome.out == f"{folder / 'a.txt'}\nTower Bridge\nIt was opened in 1894 by the Prince of Wales.\n\n"


def test_what_is_no_text_in_a_folder_is_left_out_and_named(bare_cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "logo.png").write_bytes(b"\x89PNG\xff\x00")
    outcome = bare_cli("compress", str(folder), *ASKED)
    assert (outcome.code, "holds no text in UTF-8" in outcome.err) == (1, True)
    (folder / "a.txt").write_text(BRIDGES)
    outcome = bare_cli("compress", str(folder), *ASKED, "--embedder", "static")
    assert outcome.code == 0
    assert "1894" in outcome.out
    assert f"{folder / 'logo.png'} is no text in UTF-8 and is left out" in outcome.err


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BODIES: dict[str, dict[str, Any]] = {
    "openai": {
        "model": "gpt-4o",
        "temperature": 0.10,
        "messages": [
            {"role": "system", "content": "Answer in a word."},
            {"role": "user", "content": "when was tower bridge opened"},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": BRIDGES},
        ],
    },
    "anthropic": {
        "model": "claude-sonnet-4-5",
        "max_tokens": 9,
        "system": "Answer in a word.",
        "messages": [
            {"role": "user", "content": "when was tower bridge opened"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": BRIDGES}]},
        ],
    },
    "gemini": {
        "contents": [
            {"role": "user", "parts": [{"text": "when was tower bridge opened"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"text": BRIDGES}}}]},
        ],
    },
}


@pytest.mark.parametrize("protocol", BODIES)
def test_a_body_keeps_all_but_what_its_tool_gave_back_needlessly(bare_cli: Cli, tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "body.json"
    file.write_text(json.dumps(BODIES[protocol]))
    outcome = bare_cli("compress", str(file), "--tokens", "40")
    body = json.loads(outcome.out)
    assert "1894" in outcome.out
    assert "Paris" not in outcome.out
    assert {name: value for name, value in body.items() if name not in ("messages", "contents")} == {
        name: value for name, value in BODIES[protocol].items() if name not in ("messages", "contents")
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "name a file"),
        (("nowhere.txt",), "cannot be read"),
        (("{file}", "--ratio", "0.5"), "ratio is 0.5, and must be 1 or more"),
        (("{file}", "--ratio", "2", "--tokens", "9"), "give ratio or tokens, not both"),
        (("{file}", "--model", "no-such-model"), "no price for model"),
        (("{file}", "--ratoi", "2"), "there is no option --ratoi"),
        (("{file}", "--tokens", "0"), "nothing was left"),
        (("{file}", "--ratio", "1000"), "nothing was left"),
        (("{file}", "--ratio", "2", "--embedder", "big"), "embedder is 'big'"),
        (("{file}", "--budget", "system=5"), "--budget is 'system=5'; give retrieved=2000 or history=2000"),
        (("{file}", "--budget", "retrieved=-5"), "--budget is 'retrieved=-5'"),
        (("{file}", "--budget", "retrieved=9", "--budget", "retrieved=8"), "--budget has retrieved twice"),
        (("{binary}",), "no text in UTF-8"),
        (("{empty}",), "holds no file"),
    ],
)
def test_what_cannot_be_done_is_said(bare_cli: Cli, bridges: Path, arguments: tuple[str, ...], complaint: str) -> None:
    binary, empty = bridges.with_name("binary"), bridges.with_name("empty")
    binary.write_bytes(b"\xff\xfe")
    empty.mkdir()
    outcome = bare_cli("compress", *(each.format(file=bridges, binary=binary, empty=empty) for each in arguments))
    assert outcome.code == 1
    assert complaint in outcome.err


def test_each_segment_has_a_budget_of_its_own(bare_cli: Cli, tmp_path: Path) -> None:
    said = [{"role": role, "content": f"{BRIDGES} Said {n}."} for n in range(4) for role in ("user", "assistant")]
    turns = [*said, *BODIES["openai"]["messages"][1:]]
    (tmp_path / "body.json").write_text(json.dumps({"model": "gpt-4o", "messages": turns}))
    retrieved = bare_cli("compress", "body.json", "--budget", "retrieved=20", "--json").json()
    assert retrieved["body"]["messages"][:-1] == turns[:-1]
    assert "1894" in retrieved["body"]["messages"][-1]["content"]
    assert "Paris" not in retrieved["body"]["messages"][-1]["content"]
    both = bare_cli("compress", "body.json", "--budget", "retrieved=20", "--budget", "history=260", "--json").json()
    assert both["body"]["messages"][-1] == retrieved["body"]["messages"][-1]
    assert len(str(both["body"]["messages"][0])) < len(str(turns[0]))


def test_a_question_none_of_whose_words_stay_is_told(bare_cli: Cli, bridges: Path) -> None:
    told = "no word of the question is in what stays"
    strange = bare_cli("compress", str(bridges), "--question", "how do penguins sleep", "--ratio", "3")
    assert (strange.code, told in strange.err) == (0, True)
    assert told not in bare_cli("compress", str(bridges), *ASKED).err
    assert told not in bare_cli("compress", str(bridges), "--ratio", "3").err


GATEWAY = """
[providers.sim]
kind = "sandbox"
[models.small]
targets = ["sim/gpt-4o-mini"]
compress = { ratio = 3, read_more = true }
[models.claude]
targets = ["sim/claude-sonnet-4-5"]
compress = 3
[models.gem]
targets = ["sim/gemini-2.5-flash"]
compress = 3
[models.plain]
targets = ["sim/gpt-4o"]
[compress]
bytes_min = 100
holdout_percent = 5
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    (tmp_path / "bursar.toml").write_text(GATEWAY)
    for name, body in BODIES.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(body))
    (tmp_path / "short.json").write_text('{"model":"small","messages":[{"role":"user","content":"hello"}]}')
    return tmp_path


@pytest.mark.parametrize(("protocol", "model"), [("openai", "small"), ("anthropic", "claude"), ("gemini", "gem")])
def test_a_body_is_shown_as_a_gateway_sends_it_beside_what_it_was(
    bare_cli: Cli, gateway: Path, protocol: str, model: str
) -> None:
    body = f"{gateway / protocol}.json"
    found = bare_cli("compress", body, "--as-gateway", model, "--json").json()
    assert "1894" in str(found["body"])
    assert "Paris" not in str(found["body"])
    assert found["tokens_after"] < found["tokens_before"]
    assert found["notes"] == ["5 % of runs and conversations are held out, and sent as they came"]
    beside = bare_cli("compress", body, "--as-gateway", model, "--diff")
    assert beside.out.count("opened in 1894") == 2
    assert beside.out.count("lattice") == 1
    assert "held out" in beside.err


def test_what_a_gateway_leaves_alone_is_shown_as_it_came_with_the_reason(bare_cli: Cli, gateway: Path) -> None:
    outcome = bare_cli("compress", "short.json", "--as-gateway", "small")
    assert (outcome.code, outcome.out) == (0, (gateway / "short.json").read_text() + "\n")
    assert "it has 64 bytes, and compress.bytes_min is 100" in outcome.err
    outcome = bare_cli("compress", "openai.json", "--as-gateway", "plain")
    assert json.loads(outcome.out) == BODIES["openai"]
    assert "plain is not compressed by this configuration" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("openai.json", "--as-gateway", "smal"), "no model 'smal' here; near: small"),
        (("bursar.toml", "--as-gateway", "small"), "takes the body of one chat request"),
        (("openai.json", "--as-gateway", "small", "--ratio", "2"), "beside it only --config, --diff"),
        (("openai.json", "--as-gateway", "small", "--config", "no.toml"), "cannot read no.toml"),
        (("openai.json", "--config", "bursar.toml"), "--config is for --as-gateway"),
    ],
)
def test_what_no_gateway_would_do_is_said(
    bare_cli: Cli, gateway: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    outcome = bare_cli("compress", *arguments)
    assert (gateway.exists(), outcome.code) == (True, 1)
    assert complaint in outcome.err


def test_what_is_piped_in_is_read(bridges: Path, monkeypatch: pytest.MonkeyPatch, bare_cli: Cli) -> None:
    with bridges.open() as piped:
        monkeypatch.setattr("sys.stdin", piped)
        assert "1894" in bare_cli("compress", "-", *ASKED).out
