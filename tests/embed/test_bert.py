"""The BERT in NumPy gives what its formulas say, written out piece by piece in double precision."""

import math

import numpy as np
import pytest

from bursar.core.errors import ConfigError
from bursar.embed.bert import Bert, gelu, read_bert, read_safetensors
from tests.embed.weights import LAYERS, PIECES, POSITIONS, WIDTH, safetensors, small_weights

VOCABULARY = "\n".join(PIECES) + "\n"
HEADS = 2


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return small_weights()


@pytest.fixture(scope="module")
def bert(weights: dict[str, np.ndarray]) -> Bert:
    return read_bert(safetensors(weights), VOCABULARY, heads=HEADS)


def exact_gelu(value: float) -> float:
    return value * 0.5 * (1 + math.erf(value / math.sqrt(2)))


def by_hand(weights: dict[str, np.ndarray], numbers: list[int]) -> np.ndarray:
    held = {name: values.astype(np.float64) for name, values in weights.items()}

    def dense(name: str, row: np.ndarray) -> np.ndarray:
        return held[f"{name}.weight"] @ row + held[f"{name}.bias"]

    def norm(name: str, row: np.ndarray) -> np.ndarray:
        apart = row - row.mean()
        return apart / math.sqrt(apart @ apart / WIDTH + 1e-12) * held[f"{name}.weight"] + held[f"{name}.bias"]

    words, places = held["embeddings.word_embeddings.weight"], held["embeddings.position_embeddings.weight"]
    kind = held["embeddings.token_type_embeddings.weight"][0]
    rows = [norm("embeddings.LayerNorm", words[n] + places[p] + kind) for p, n in enumerate(numbers)]
    for number in range(LAYERS):
        at = f"encoder.layer.{number}"
        asked, keys, values = (
            [dense(f"{at}.attention.self.{name}", row) for row in rows] for name in ("query", "key", "value")
        )
        step = WIDTH // HEADS
        seen = []
        for row in asked:
            parts = []
            for head in range(HEADS):
                cut = slice(head * step, (head + 1) * step)
                shares = np.exp([row[cut] @ key[cut] / math.sqrt(step) for key in keys])
                parts.append(sum(s * v[cut] for s, v in zip(shares / shares.sum(), values, strict=True)))
            seen.append(np.concatenate(parts))
        rows = [
            norm(f"{at}.attention.output.LayerNorm", row + dense(f"{at}.attention.output.dense", each))
            for row, each in zip(rows, seen, strict=True)
        ]
        wide = [
            [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in dense(f"{at}.intermediate.dense", r)] for r in rows
        ]
        rows = [
            norm(f"{at}.output.LayerNorm", row + dense(f"{at}.output.dense", np.array(each)))
            for row, each in zip(rows, wide, strict=True)
        ]
    mean = sum(rows) / len(rows)
    return mean / np.linalg.norm(mean)


def test_vectors_are_what_the_formulas_say(bert: Bert, weights: dict[str, np.ndarray]) -> None:
    texts = ["my card is lost", "Where is my card?", "", "cards lost", "my card is lost"]

    found = bert.vectors(texts)

    expected = np.array([by_hand(weights, bert.pieces(text)) for text in texts])
    assert np.abs(found - expected).max() < 2e-6
    assert bert.dimensions == WIDTH


def test_a_text_is_read_between_marks_and_cut_where_the_model_ends(bert: Bert) -> None:
    assert [PIECES[n] for n in bert.pieces("My cards")] == ["[CLS]", "my", "card", "##s", "[SEP]"]
    assert len(bert.pieces("card " * 100)) == POSITIONS


def test_the_whole_of_texts_is_the_text_of_their_lines(bert: Bert) -> None:
    np.testing.assert_array_equal(bert.with_whole(["red", "blue"]), bert.vectors(["red", "blue", "red\nblue"]))


def test_a_piece_alone_is_a_text_of_one_piece(bert: Bert) -> None:
    alone = bert.piece_vectors([PIECES.index("card")])[0]

    assert alone / np.linalg.norm(alone) == pytest.approx(bert.vectors(["card"])[0], abs=1e-6)


def test_half_precision_and_a_models_name_before_the_weights_are_read(weights: dict[str, np.ndarray]) -> None:
    half = {f"bert.{name}": values.astype(np.float16) for name, values in weights.items()}
    numbers = {"bert.embeddings.position_ids": np.arange(4)}
    found = read_bert(safetensors(numbers | half), VOCABULARY, "small", HEADS)

    assert found.vectors(["my card"]) == pytest.approx(
        read_bert(safetensors(weights), VOCABULARY, heads=HEADS).vectors(["my card"]), abs=0.02
    )
    assert found.name == "small"


def test_gelu_is_that_of_erf() -> None:
    x = np.linspace(-6, 6, 2_001, dtype=np.float32)
    exact = [exact_gelu(value) for value in x.tolist()]

    assert np.abs(gelu(x.copy()) - exact).max() < 1e-6


def test_a_model_is_known_by_its_bytes(bert: Bert) -> None:
    other = read_bert(safetensors(small_weights(4)), VOCABULARY, heads=HEADS)

    assert bert.name.startswith("bert-")
    assert bert.name != other.name


def test_weights_that_lack_a_matrix_are_refused_by_its_name(weights: dict[str, np.ndarray]) -> None:
    name = "encoder.layer.1.output.dense.bias"
    fewer = {each: values for each, values in weights.items() if each != name}

    with pytest.raises(ConfigError, match=f"weights lack {name}"):
        read_bert(safetensors(fewer), VOCABULARY, heads=HEADS)


@pytest.mark.parametrize(
    ("text", "heads", "complaint"),
    [
        ("[CLS]\n[SEP]\n", HEADS, "vocabulary holds 2 pieces and the weights 11"),
        (VOCABULARY.replace("[SEP]", "sep"), HEADS, r"vocabulary lacks \[CLS\] or \[SEP\]"),
        (VOCABULARY, 3, "heads is 3; give a number that divides the width, 8"),
        (VOCABULARY, 0, "heads is 0; give a number that divides the width, 8"),
    ],
)
def test_what_does_not_fit_the_weights_is_refused(
    text: str, heads: int, complaint: str, weights: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_bert(safetensors(weights), text, heads=heads)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"torch",
        (4).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        safetensors(small_weights())[:-10],
        (2**63).to_bytes(8, "little") + b'{"a": {"dtype": "F32"}}',
        (22).to_bytes(8, "little") + b'{"a":{"dtype":"F32"}} ',
    ],
)
def test_what_is_no_safetensors_file_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="weights are no safetensors file"):
        read_safetensors(data)
