"""The page on translation lists what is left behind, all of it and nothing else."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from bursar.core.records import Protocol
from bursar.wires import chat_form, gemini_form, messages_form, responses_form
from bursar.wires.fields import Silent

PAGE: Final = (Path(__file__).parents[2] / "docs/reference/translation.md").read_text()
LEFT_BEHIND: Final = {
    Protocol.openai_chat: chat_form.LEFT_BEHIND,
    Protocol.openai_responses: responses_form.LEFT_BEHIND,
    Protocol.anthropic_messages: messages_form.LEFT_BEHIND,
    Protocol.gemini: gemini_form.LEFT_BEHIND,
}


@pytest.mark.parametrize("protocol", LEFT_BEHIND)
def test_the_page_lists_what_each_protocol_may_leave_behind(protocol: Protocol) -> None:
    assert shown(protocol) == {name: written(LEFT_BEHIND[protocol], name) for name in LEFT_BEHIND[protocol]}


def shown(protocol: Protocol) -> dict[str, str]:
    _, _, table = PAGE.partition("## Left behind")
    row = re.search(rf"^\| `{protocol.name}` \| (.+) \|$", table, re.MULTILINE)
    assert row is not None
    cells = re.findall(r"`(\w+)`(?: \(`([^`]*)`\))?", row[1])
    return dict(cells)


def written(silent: Silent, name: str) -> str:
    return ", ".join(json.dumps(value) for value in silent[name])
