"""`bursar providers`: bursar.toml gains a table, and no line of it moves."""

import json
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.cli.app import run
from bursar.cli.providers import _added
from bursar.core.errors import OperatorError
from bursar.gateway.presets import presets

HOUSE = """# my house
[gateway]   # about it
output_cap = 500  # small

[providers.here] # first
kind = "sandbox"

# models below
[models.x]
targets = ["here/gpt-4o"]   # one
"""


def command(*words: str) -> int:
    try:
        run(["providers", *words])
    except SystemExit as end:
        return int(str(end.code))
    return 0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_provider_is_added_behind_the_others_and_every_line_stays(folder: Path) -> None:
    file = folder / "bursar.toml"
    file.write_text(HOUSE)
    file.chmod(0o600)
    assert command("add", "groq") == 0
    before, after = HOUSE.split("# models below")
    assert file.read_text() == f'{before}[providers.groq]\npreset = "groq"\n\n# models below{after}'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["bursar.toml"]


def test_a_missing_file_is_made_and_the_next_provider_follows(folder: Path) -> None:
    assert command("add", "mistral") == 0
    assert command("add", "vllm", "--as", "big box", "--base-url", "http://10.0.0.1:8000/v1") == 0
    assert (folder / "bursar.toml").read_text() == (
        '[providers.mistral]\npreset = "mistral"\n\n'
        '[providers."big box"]\npreset = "vllm"\nbase_url = "http://10.0.0.1:8000/v1"\n'
    )


def test_the_output_says_where_the_key_is_read_and_what_a_target_is_called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    command("add", "groq", "--as", "fast")
    assert capsys.readouterr().out == (
        "bursar.toml: added [providers.fast], Groq\n"
        "its key is read from GROQ_API_KEY, which is not set here\n"
        'a target there is called "fast/llama-3.3-70b-versatile"\n'
    )


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    command("add", "deepseek", "--api-key-env", "DEEP", "--json")
    assert json.loads(capsys.readouterr().out) == {
        "name": "deepseek",
        "config": "bursar.toml",
        "settings": {"preset": "deepseek", "api_key_env": "DEEP"},
        "api_key_env": "DEEP",
    }


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (HOUSE, ["groqq"], "providers add: no preset 'groqq'; near: groq"),
        (HOUSE, ["groq", "--as", "here"], "bursar.toml has a provider 'here' already: give another name by --as"),
        (HOUSE, ["groq", "--as", "a/b"], "--as: expected a name without / for targets to begin with, got 'a/b'"),
        (HOUSE, ["groq", "--set", "region"], "--set: expected WORD=VALUE, such as region=us-east-1, got 'region'"),
        (HOUSE, ["groq", "--set", "region=x"], "preset groq has no 'region': it needs nothing to be set"),
        ("a = ", ["groq"], "bursar.toml: Invalid value (at end of document)"),
        ("providers = 3", ["groq"], "providers: expected a table"),
        (
            'providers = { a = { kind = "sandbox" } }',
            ["groq"],
            "bursar.toml is written in a way that cannot be added to: write [providers.groq] by hand",
        ),
    ],
)
def test_what_cannot_be_added_leaves_the_file_as_it_was(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, words: list[str], message: str
) -> None:
    file = folder / "bursar.toml"
    file.write_text(text)
    assert command("add", *words) == 1
    assert capsys.readouterr().err == f"bursar: {message}\n"
    assert file.read_text() == text


def test_a_file_that_cannot_be_read_or_written_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("add", "groq", "--config", str(folder)) == 1
    assert capsys.readouterr().err == f"bursar: cannot read {folder}: Is a directory\n"
    assert command("add", "groq", "--config", "nowhere/bursar.toml") == 1
    assert capsys.readouterr().err == "bursar: cannot write nowhere/bursar.toml: No such file or directory\n"
    (folder / "bursar.toml").write_bytes(b"# caf\xe9")
    assert command("add", "groq") == 1
    assert capsys.readouterr().err == "bursar: cannot read bursar.toml: it is not UTF-8\n"


def test_lines_that_look_like_tables_within_a_text_do_not_mislead() -> None:
    text = 'note = """\n[providers.x]\n"""\n[providers.a]\nkind = "sandbox"\nabout = [\n[1],\n]\n'
    added = _added(text, "groq", {"preset": "groq"}, Path("bursar.toml"))
    assert tomllib.loads(added)["providers"]["groq"] == {"preset": "groq"}
    assert added.startswith(text.rstrip("\n"))


@given(
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=12),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    windows=st.booleans(),
    tail=st.sampled_from(["", "\n", "\n\n# the end", "\n[models.y]\ntargets = ['here/a']"]),
)
def test_whatever_the_names_the_file_says_what_it_said_and_one_thing_more(
    name: str, value: str, windows: bool, tail: str
) -> None:
    text = (HOUSE + tail).replace("\n", "\r\n" if windows else "\n")
    before = tomllib.loads(text)
    try:
        added = _added(text, name, {"preset": "groq", "base_url": value}, Path("bursar.toml"))
    except OperatorError:
        assert name == "here"
        return
    after = tomllib.loads(added)
    assert after["providers"].pop(name) == {"preset": "groq", "base_url": value}
    assert after == before
    kept = iter(added.split("\n"))
    assert all(line in kept for line in text.split("\n") if line.strip())


def test_the_list_names_every_preset_and_what_is_configured(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "sk-x")
    command("add", "groq", "--as", "fast")
    capsys.readouterr()
    assert command("list", "--json") == 0
    listed = {each["preset"]: each["configured"] for each in json.loads(capsys.readouterr().out)}
    assert listed.keys() == presets().keys()
    assert {name: used for name, used in listed.items() if used} == {"groq": ["fast"]}
    assert command("list") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("groq")]
    assert line.split() == ["groq", "Groq", "https://api.groq.com/openai/v1", "groq", "fast"]


def test_a_preset_is_shown_with_its_settings_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("show", "mistral") == 0
    shown = capsys.readouterr().out
    assert "drop_fields  stream_options" in shown
    assert "https://docs.mistral.ai/api/" in shown
    assert command("show", "mistral", "--json") == 0
    assert json.loads(capsys.readouterr().out)["key"] == "MISTRAL_API_KEY"
    assert command("show", "nobody") == 1
