"""Make a BERT so small that a test can work it out by hand, as the bytes of its two files."""

import json

import numpy as np

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "my", "card", "is", "lost", "##s", "where", "?")
WIDTH = 8
WIDE = 16
LAYERS = 2
POSITIONS = 12


def small_weights(seed: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (len(PIECES), WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for number in range(LAYERS):
        at = f"encoder.layer.{number}"
        for name in ("query", "key", "value"):
            shapes |= _dense(f"{at}.attention.self.{name}", WIDTH, WIDTH)
        shapes |= _dense(f"{at}.attention.output.dense", WIDTH, WIDTH) | _norm(f"{at}.attention.output")
        shapes |= _dense(f"{at}.intermediate.dense", WIDTH, WIDE) | _dense(f"{at}.output.dense", WIDE, WIDTH)
        shapes |= _norm(f"{at}.output")
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def safetensors(weights: dict[str, np.ndarray]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    kinds = {"float32": "F32", "float16": "F16", "int64": "I64"}
    start = 0
    for name, values in weights.items():
        end = start + values.nbytes
        header[name] = {"dtype": kinds[values.dtype.name], "shape": list(values.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(values.tobytes() for values in weights.values())


def _dense(name: str, wide: int, out: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, wide), f"{name}.bias": (out,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.LayerNorm.weight": (WIDTH,), f"{name}.LayerNorm.bias": (WIDTH,)}
