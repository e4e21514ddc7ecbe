"""Build the documents that compression without loss is measured on: rows of real data, made-up rows, and hard cases.

Rows are read from shared/data as they stand, an empty field as null. What is made up comes from a seed.
"""

import base64
import csv
import hashlib
import json
import random
from pathlib import Path
from typing import Any, Final

from bursar.savings.compress.json_text import is_number

SEED: Final = 20261122
ROWS_MAX: Final = 1_000
FILES: Final = {
    "prices by release": "prices/litellm_snapshots/litellm_prices_by_release.csv",
    "price events": "prices/models_dev/price_events_from_git.csv",
    "azure requests": "azure_llm_2023/AzureLLMInferenceTrace_conv.csv",
    "energy runs": "mlenergy_v3/llm_runs_flat.csv",
    "banking77 drawn": "banking77/train.csv",
}
DRAWN: Final = frozenset(["banking77 drawn", "prices by release"])
"""Files of which rows are drawn at random: their own order, by intent or release, is kinder to tables than life."""

WORDS: Final = (
    "cache","queue","retry","price","token","stream","parser","header","timeout","budget","ledger","route","metric",
    "socket","config","schema","worker","upload","import","export","filter","search","layout","editor","plugin",
)  # fmt: skip


def tables(data: Path) -> dict[str, Any]:
    """Return documents that are rows, by name."""
    chance = random.Random(SEED)
    found: dict[str, Any] = {name: rows(data / file, name in DRAWN, chance) for name, file in FILES.items()}
    return found | {"issues": issues(chance), "orders": orders(chance), "event log": events(chance)}


def rows(path: Path, drawn: bool, chance: random.Random) -> list[dict[str, Any]]:
    """Read rows of a CSV file: the first ones, or some drawn at random."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        found = [{name: field(text) for name, text in row.items()} for row in csv.DictReader(file)]
    return chance.sample(found, ROWS_MAX) if drawn and len(found) > ROWS_MAX else found[:ROWS_MAX]


def field(text: str) -> Any:
    """Return a field as JSON would have it."""
    if not text:
        return None
    return json.loads(text) if is_number(text) else text


def digests(data: Path) -> str:
    """Return the files' SHA-256, the first 12 digits each."""
    return ", ".join(
        f"{name} {hashlib.sha256((data / file).read_bytes()).hexdigest()[:12]}" for name, file in FILES.items()
    )


def sentence(chance: random.Random, words: int) -> str:
    """Make up a sentence."""
    return " ".join(chance.choice(WORDS) for _ in range(words)).capitalize()


def issues(chance: random.Random) -> list[dict[str, Any]]:
    """Make up a page of issues as a code host's API gives them: people and milestones within, links in each."""
    found = []
    for number in range(1_200, 1_300):
        day = f"2026-0{chance.randint(1, 9)}-{chance.randint(10, 28)}"
        at = f"https://api.example.com/repos/acme/engine/issues/{number}"
        person = chance.randrange(12)
        who = {
            "login": f"dev{person}",
            "id": 5_000 + person,
            "url": f"https://api.example.com/users/dev{person}",
            "admin": False,
        }
        found.append(
            {
                "id": 900_000_000 + number * 37,
                "number": number,
                "url": at,
                "comments_url": f"{at}/comments",
                "title": sentence(chance, chance.randint(4, 10)),
                "state": chance.choice(["open", "closed"]),
                "user": who,
                "labels": chance.sample(["bug", "docs", "good first issue", "performance", "api"], chance.randrange(4)),
                "milestone": {"title": "v1.2", "number": 3} if chance.random() < 0.3 else None,
                "comments": chance.randrange(20),
                "created_at": f"{day}T{chance.randrange(10, 24)}:15:00Z",
                "body": f"{sentence(chance, 20)}, then it failed.\n\n{sentence(chance, 15)}.",
            }
        )
    return found


def orders(chance: random.Random) -> dict[str, Any]:
    """Make up a page of orders, with their customers and items within."""
    found = []
    for number in range(50):
        items = [
            {"sku": f"SKU-{chance.randrange(10**6):06}", "name": sentence(chance, 2), "quantity": chance.randint(1, 5)}
            | {"price": chance.randrange(100, 20_000) / 100}
            for _ in range(chance.randint(1, 4))
        ]
        customer = {"id": chance.randrange(10**4), "name": sentence(chance, 2), "email": f"c{number}@example.com"}
        customer["address"] = {
            "street": f"{chance.randrange(200)} Main St",
            "city": chance.choice(["Rome", "Oslo", "Bonn"]),
        }
        order = {
            "orderId": f"ORD-{number:04}",
            "customer": customer,
            "items": items,
            "status": chance.choice(["paid", "sent"]),
        }
        found.append(order | {"total": round(sum(each["price"] * each["quantity"] for each in items), 2)})
    return {"orders": found, "page": 1, "next": None}


def events(chance: random.Random) -> list[dict[str, Any]]:
    """Make up a log in which half the events have an error within and the others have none."""
    found = []
    for number in range(150):
        event: dict[str, Any] = {
            "timestamp": f"2026-03-01T10:{number // 60:02}:{number % 60:02}.{chance.randrange(1000):03}Z",
            "level": chance.choice(["info", "warn", "error"]),
            "endpoint": chance.choice(["/api/users", "/api/orders", "/api/search"]),
            "statusCode": chance.choice([200, 201, 404, 500]),
            "responseTime": chance.randrange(5, 900),
            "userId": chance.randrange(1_000, 9_999),
        }
        if chance.random() < 0.5:
            event["error"] = {"message": sentence(chance, 4), "retryable": chance.random() < 0.5}
        found.append(event)
    return found


def configuration() -> dict[str, Any]:
    """Return a configuration: deep, and nothing in it twice."""
    pool = {"min": 2, "max": 20, "idleTimeoutMillis": 30_000}
    return {
        "app": {"name": "engine", "version": "2.4.1", "environment": "production"},
        "database": {"primary": {"host": "db1.internal", "port": 5432, "ssl": True, "pool": pool}, "replicas": []},
        "features": {
            "search": {"enabled": True, "rollout": 0.25, "for": ["beta", "staff"]},
            "export": {"enabled": False},
        },
        "auth": {
            "providers": {"oauth": {"scopes": ["read", "write"], "ttl": 3600}, "saml": None},
            "session": {"days": 7},
        },
        "log": {"level": "info", "to": ["stdout", {"file": "/var/log/engine.log", "rotate": {"days": 7, "keep": 3}}]},
    }


def documents(data: Path) -> dict[str, Any]:
    """Return JSON of which no row need be like another: deep, tiny, wide, of one value or of many kinds."""
    chance = random.Random(SEED)
    found: dict[str, Any] = {
        "price catalogue": json.loads((data / "prices/genai_prices/data.json").read_bytes()),
        "configuration": configuration(),
        "matrix": [[chance.randrange(1000) for _ in range(8)] for _ in range(40)],
        "words": [chance.choice(WORDS) for _ in range(200)],
        "columns": {name: [chance.randrange(100) for _ in range(50)] for name in WORDS[:6]},
        "long texts": [
            {"title": sentence(chance, 5), "text": f'{sentence(chance, 60)}, "so"\n\n- it'} for _ in range(10)
        ],
        "unlike rows": [
            {chance.choice(WORDS): number, chance.choice(WORDS): sentence(chance, 2)} for number in range(40)
        ],
        "two orders of keys": [{"a": 1, "b": 2}, {"b": 2, "a": 1}] * 10,
        "looks like structure": [
            {"a": text, "b": number} for number, text in enumerate(["null", "1", "a,b", "[x", "@a", ""])
        ],
        "many scripts": [{"name": text, "n": 1} for text in ("Zoë", "北京", "Москва", "مرحبا", "😀", "नमस्ते")],
        "tiny": [{"a": 1}],
        "two tiny rows": [{"a": 1}, {"a": 2}],
        "empty": [{}, {}, []],
    }
    for number in range(300):
        found[f"drawn {number}"] = drawn(chance, 0)
    return found


def drawn(chance: random.Random, depth: int) -> Any:
    """Draw a value of any shape."""
    kind = chance.randrange(4 if depth < 4 else 2)
    if kind == 0:
        return chance.choice([None, True, chance.randrange(10**6), chance.random(), ""])
    if kind == 1:
        return sentence(chance, chance.randint(1, 6))
    size = chance.randrange(6)
    if kind == 2:
        return [drawn(chance, depth + 1) for _ in range(size)]
    return {name: drawn(chance, depth + 1) for name in chance.sample(WORDS, size)}


def texts(data: Path) -> dict[str, str]:
    """Return texts that are no JSON, and some that only look like it."""
    passages = [json.loads(line)["ctxs"][0]["text"] for line in (data / "nq_oracle_and_kv/nq-open-oracle.jsonl").open()]
    code = Path(__file__).read_text()
    picture = base64.b64encode(random.Random(SEED).randbytes(30_000)).decode()
    return {
        "passages": "\n\n".join(passages[:200]),
        "passages, wide": "   \n\n\n\n".join(passages[200:400]),
        "code": code,
        "patch": "\n".join(f"+{line}" for line in code.split("\n")),
        "markdown": f"# Title\n\n```python\n{code}```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "a picture": f"Here: data:image/png;base64,{picture}",
        "base64 without a name": picture,
        "hex": random.Random(SEED).randbytes(2_000).hex(),
        "broken JSON": json.dumps(orders(random.Random(SEED)))[:-20],
        "brackets": "[" * 3_000,
        "nothing": "",
        "one letter": "a",
        "blanks": " \n" * 50,
        "scripts": "Zoë 北京\u200b Москва مرحبا 😀 नमस्ते ไทย\u200bไทย " * 20,
    }
