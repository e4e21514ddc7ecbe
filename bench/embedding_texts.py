"""Gather the texts the embedding table is fitted on: all open, and none of any test set.

    apt-get download wordnet-base python3.11-doc postgresql-doc-15     (Debian 12)
    dpkg -x each of them into one folder, and name it by --texts

WordNet's glosses and examples (WordNet licence), paragraphs of Python's manual (PSF licence) and of PostgreSQL's
(PostgreSQL licence), and banking77's training questions (CC BY 4.0). The teacher answers whatever it is asked, so a
quarter of the texts is made up: training questions cut and joined, questions and paragraphs built of WordNet's words.
"""

import csv
import hashlib
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from bursar.embed.table import Text

SEED: Final = 11
SHUFFLE_SEED: Final = 5
HELD_OUT_SEED: Final = 1
LEARNT_FROM: Final = 8_000  # of banking77's training questions; the others chose the settings
PARAGRAPH_LENGTHS: Final = (31, 899)
WORDNET: Final = "WordNet 3.0 (Debian wordnet-base 1:3.0-37)"

QUESTIONS: Final = (
    "What is <noun>?",
    "Who was <name>?",
    "Where is <name>?",
    "When did <name> <verb> the <noun>?",
    "What is the <noun> of <name>?",
    "How many <noun>s does <name> have?",
    "What did <name> <verb>?",
    "Which <noun> was <adjective> in <name>?",
    "Why did the <noun> <verb> the <adjective> <noun>?",
    "In what year did <name> <verb> <name>?",
    "What kind of <noun> is a <noun>?",
    "How does a <noun> <verb>?",
    "What <noun> is used to <verb> <noun>?",
    "Who <verb> the <noun> in <name>?",
    "What percentage of <noun> is <adjective>?",
    "What was the name of the <adjective> <noun> of <name>?",
    "How much <noun> can <noun> <verb>?",
    "What are the main <noun>s of <noun>?",
)
ASKED_FOR_WORDS: Final = (
    "What do you call <definition>?",
    "What is the term for <definition>?",
    "Which word means <definition>?",
    "What is <definition> called?",
)
ASKED_FOR_NAMES: Final = (
    "Who or what was <definition>?",
    "What is the name of the <definition>?",
    "Which <definition>?",
)


@dataclass(frozen=True, slots=True)
class Synset:
    """Hold one of WordNet's meanings: its first word, what kind of word, and its definition."""

    word: str
    kind: str
    definition: str


@dataclass(frozen=True, slots=True)
class Source:
    """Hold texts of one kind in the order they are taken in, with their licence."""

    name: str
    origin: str
    licence: str
    texts: tuple[str, ...]

    def first(self, count: int) -> "Source":
        """Return its first texts."""
        return Source(self.name, self.origin, self.licence, self.texts[:count])

    @property
    def stated(self) -> Text:
        """State it for the table's provenance."""
        digest = hashlib.sha256("\n".join(self.texts).encode()).hexdigest()
        return Text(f"{self.name}: {self.origin}", self.licence, len(self.texts), digest)


def gather(data: Path, texts: Path) -> list[Source]:
    """Return every source; `data` holds banking77, `texts` the unpacked packages."""
    random = Random(SEED)
    asked = banking(data, "train")
    learnt = [asked[place] for place in held_out(len(asked))[0]]
    synsets, examples = read_wordnet(texts / "usr/share/wordnet")
    cut = _once(_cut_questions(random, learnt))
    questions = _once(_made_questions(random, synsets))
    paragraphs = _once(_made_paragraphs(random, synsets))
    manuals = texts / "usr/share/doc"
    python = _once(_paragraphs(random, manuals / "python3.11/html", 8_000))
    postgres = _once(_paragraphs(random, manuals / "postgresql-doc-15/html", 5_000))
    titled = [f"{each.word}: {each.definition}" for each in synsets if each.kind == "noun"]
    wordnet = partial(Source, origin=WORDNET, licence="WordNet")
    bank = partial(Source, origin="banking77 train.csv at 57ec275", licence="CC BY 4.0")
    return [
        bank("banking questions", texts=tuple(asked)),
        bank("banking questions cut and joined", texts=_shuffled(cut)),
        wordnet("glosses", texts=_shuffled(_once(each.definition for each in synsets))),
        wordnet("examples", texts=_shuffled(_once(examples))),
        wordnet("glosses with their words", texts=_shuffled(_once(titled))),
        wordnet("questions made of its words", texts=_shuffled(questions)),
        wordnet("paragraphs made of glosses", texts=_shuffled(paragraphs)),
        Source("Python 3.11 manual", "Debian python3.11-doc", "PSF-2.0", _shuffled(python)),
        Source("PostgreSQL 15 manual", "Debian postgresql-doc-15", "PostgreSQL", _shuffled(postgres)),
    ]


def banking(data: Path, part: str) -> list[str]:
    """Return banking77's questions of a part."""
    with (data / "banking77" / f"{part}.csv").open(newline="", encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)]


def held_out(count: int) -> tuple[list[int], list[int]]:
    """Return the places of the questions learnt from, and of those that choose settings."""
    places = np.random.default_rng(HELD_OUT_SEED).permutation(count).tolist()
    return places[:LEARNT_FROM], places[LEARNT_FROM:]


def read_wordnet(folder: Path) -> tuple[list[Synset], list[str]]:
    """Return WordNet's meanings and its example sentences."""
    synsets: list[Synset] = []
    examples: list[str] = []
    for kind in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{kind}").read_text(encoding="latin-1").split("\n"):
            if line.startswith("  ") or "|" not in line:
                continue
            head, gloss = line.split("|", 1)
            word = re.sub(r"\(.*?\)", "", head.split()[4]).replace("_", " ")
            definition = re.sub(r';?\s*"[^"]*"[^;]*', "", gloss.strip()).strip(" ;")
            synsets.append(Synset(word, kind, definition))
            examples += re.findall(r'"([^"]+)"', gloss)
    return synsets, examples


def _cut_questions(random: Random, questions: list[str]) -> list[str]:
    """Join beginnings with ends of others, cut pieces out, and leave words out."""
    found: list[str] = []
    for _ in range(22_000):
        first, second = random.choice(questions).split(), random.choice(questions).split()
        end, start = random.randint(1, len(first)), random.randint(0, len(second) - 1)
        found.append(" ".join((first[:end] + second[start:])[:28]))
    for _ in range(10_000):
        words = random.choice(questions).split()
        if len(words) >= 4:
            length = random.randint(2, len(words) - 1)
            start = random.randint(0, len(words) - length)
            found.append(" ".join(words[start : start + length]))
    fewer = ([word for word in random.choice(questions).split() if random.random() > 0.25] for _ in range(8_000))
    return [*found, *map(" ".join, fewer)]


def _made_questions(random: Random, synsets: list[Synset]) -> list[str]:
    """Fill words of WordNet into questions, and ask for the word of a definition."""
    words = {
        "noun": [each.word for each in synsets if each.kind == "noun" and each.word[0].islower()],
        "name": [each.word for each in synsets if each.kind == "noun" and each.word[0].isupper()],
        "verb": [each.word for each in synsets if each.kind == "verb"],
        "adjective": [each.word for each in synsets if each.kind == "adj"],
    }
    found: list[str] = []
    for _ in range(45_000):
        form = random.choice(QUESTIONS)
        found.append(re.sub(r"<(\w+)>", lambda gap: random.choice(words[gap[1]]), form))
    for each in random.sample(synsets, 25_000):
        form = random.choice(ASKED_FOR_WORDS)
        if each.kind == "noun" and each.word[0].isupper():
            form = random.choice(ASKED_FOR_NAMES)
        found.append(form.replace("<definition>", each.definition))
    return found


def _made_paragraphs(random: Random, synsets: list[Synset]) -> list[str]:
    """Join definitions of neighbouring meanings into paragraphs."""
    found: list[str] = []
    for _ in range(9_000):
        start, count = random.randrange(len(synsets) - 12), random.randint(3, 8)
        parts: list[str] = []
        for each in random.sample(synsets[start : start + 12], count):
            word, said = each.word, each.definition
            forms = [f"{word} is {said}.", f"The {word}, {said}.", f"{_capital(said)}.", f"{_capital(word)}: {said}."]
            parts.append(random.choice(forms))
        found.append(" ".join(parts))
    return found


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _paragraphs(random: Random, folder: Path, count: int) -> list[str]:
    """Return paragraphs of a manual's pages."""
    found: list[str] = []
    shortest, longest = PARAGRAPH_LENGTHS
    for page in sorted(folder.rglob("*.html")):
        for each in re.findall(r"<p[ >].*?</p>", page.read_text(errors="ignore"), re.DOTALL):
            text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", each)).split()).lstrip(">").strip()
            found += [text] if shortest <= len(text) <= longest else []
    found = list(dict.fromkeys(found))
    random.shuffle(found)
    return found[:count]


def _once(texts: Iterable[str]) -> list[str]:
    """Return texts once each, in order, blanks put right and empty ones left out."""
    return list(dict.fromkeys(text for each in texts if (text := " ".join(each.split()))))


def _shuffled(texts: list[str]) -> tuple[str, ...]:
    """Return texts in an order of chance, so that the first of them stand for all."""
    order = list(texts)
    Random(SHUFFLE_SEED).shuffle(order)
    return tuple(order)
