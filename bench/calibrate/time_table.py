"""Turn runs into arrays: the pieces of work of the steps a run is made of, for all runs at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.calibrate.silicon import Run
from bursar.physics.calibration import BLACKWELL, generation_of
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.loop import sequences_room
from bursar.physics.serving import PREFILL_TOKENS
from bursar.physics.shape import Experts, Latent, Recurrent
from bursar.physics.step import format_of, head_s
from bursar.physics.work import ACTIVATION_BYTES, Kind, work_of

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]

FULL, MIXED, HALF = 0, 1, 2
STEPS: Final = 3
FORMATS: Final = ("bf16", "fp8", "fp4")
ENGINES: Final = ("vllm", "sglang", "trtllm")


@dataclass(frozen=True)
class Pieces:
    """Hold the pieces of one kind of work: in which run and step each lies, and what it does, per chip."""

    key: npt.NDArray[np.int64]
    run: npt.NDArray[np.int64]
    count: Array
    rows: Array
    compute_s: Array
    memory_s: Array
    link_s: Array
    peers: Array
    format: npt.NDArray[np.int64]
    experts: Array  # of each piece: experts, active, tokens, seconds to read one, seconds of its rows in and out


@dataclass(frozen=True)
class Table:
    """Hold what is known of each run but its rates. Names are those of `Rates` and of `loop`."""

    runs: tuple[Run, ...]
    pieces: dict[Kind, Pieces]
    counts: dict[str, Array]  # how often each overhead occurs in a step: [runs, steps]
    concurrency: Array
    room: Array
    steps: Array
    output: Array
    prompts: Array  # read in one step, and the parts of each
    parts: Array
    wait_steps: Array
    engine: npt.NDArray[np.int64]
    blackwell: Flags
    lab: Flags
    fits: Flags
    model: Names
    tpot_s: Array
    ttft_s: Array
    weight: Array


def table_of(runs: Sequence[Run]) -> Table:
    """Lay out runs."""
    batches = [_batches(run) for run in runs]
    concurrency = np.array([run.clients.concurrency for run in runs])
    room = np.array([max(1.0, min(sequences_room(r.deployment, r.traffic), r.clients.sequences_max)) for r in runs])
    counts = [_counts(run.deployment, steps) for run, (steps, _, _) in zip(runs, batches, strict=True)]
    return Table(
        runs=tuple(runs),
        pieces=_pieces(runs, [steps for steps, _, _ in batches]),
        counts={name: np.array([each[name] for each in counts]) for name in counts[0]},
        concurrency=concurrency,
        room=room,
        steps=np.array([run.traffic.output_tokens / run.guess.accepted for run in runs]),
        output=np.array([float(run.traffic.output_tokens) for run in runs]),
        prompts=np.array([together for _, together, _ in batches]),
        parts=np.array([parts for _, _, parts in batches]),
        wait_steps=np.array([run.clients.wait_steps for run in runs]),
        engine=np.array([ENGINES.index(run.deployment.engine) for run in runs]),
        blackwell=np.array([generation_of(run.deployment.chip) == BLACKWELL for run in runs]),
        lab=np.array([run.lab for run in runs]),
        fits=np.array([not run.doubtful and not run.guess.draft for run in runs]),
        model=np.array([run.model for run in runs]),
        tpot_s=np.array([run.tpot_s for run in runs]),
        ttft_s=np.array([run.ttft_s for run in runs]),
        weight=_weight([run.cell for run in runs]),
    )


def _weight(cells: list[str]) -> Array:
    """Weigh a row by the fourth root of its sweep's size, so that a sweep of n rows counts as much as its root."""
    _, place, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    weight = sizes[place] ** -0.25
    return np.asarray(weight / np.sqrt(np.mean(weight * weight)))


def _batches(run: Run) -> tuple[tuple[Batch, Batch, Batch], float, float]:
    """Give the step that all decode in, the one that also reads prompts, and one of half as many; as `loop` does."""
    clients, traffic, draft = run.clients.concurrency, run.traffic, run.guess.draft
    context = traffic.input_tokens + traffic.output_tokens / 2
    parts = float(-(-traffic.input_tokens // PREFILL_TOKENS))
    tokens = traffic.input_tokens / parts
    arriving = clients / (traffic.output_tokens / run.guess.accepted) * parts
    together = max(1.0, min(arriving, PREFILL_TOKENS / tokens))
    mixed = Batch(clients, context, tokens * together, together, (parts - 1) / 2 * tokens, draft)
    return (Batch(clients, context, draft=draft), mixed, Batch(clients / 2, context, draft=draft)), together, parts


def _counts(deployment: Deployment, steps: tuple[Batch, ...]) -> dict[str, list[float]]:
    shape, chunks = deployment.shape, [min(1.0, batch.chunks) for batch in steps]
    layers, routed = shape.layer_count, shape.expert_layer_count
    latent = [layer.mixer for layer in shape.layers for _ in range(layer.count) if isinstance(layer.mixer, Latent)]
    states = sum(layer.count for layer in shape.layers if isinstance(layer.mixer, Recurrent))
    narrow = deployment.weights
    same = {
        "layer_s": layers,
        "expert_layer_s": routed,
        "latent_layer_s": len(latent),
        "index_layer_s": sum(bool(mixer.selected) for mixer in latent),
        "state_layer_s": states,
        "fp8_layer_s": 2 * layers * (narrow == "fp8"),
        "fp8_expert_layer_s": routed * (narrow == "fp8"),
        "fp4_layer_s": 2 * (layers - routed) * (narrow == "fp4"),
        "fp4_expert_layer_s": routed * (narrow == "fp4"),
        "step_s": 1,
    }
    found = {name: [float(count)] * STEPS for name, count in same.items()}
    found["sequence_s"] = [batch.decodes / deployment.groups for batch in steps]
    found["chunk_s"] = chunks
    found["chunk_layer_s"] = [layers * chunk for chunk in chunks]
    found["prompt_token_s"] = [batch.prefill for batch in steps]
    found["draft_s"] = [float(batch.draft) for batch in steps]
    found["head"] = [batch.draft * head_s(deployment) for batch in steps]
    return found


def _pieces(runs: Sequence[Run], steps: Sequence[tuple[Batch, ...]]) -> dict[Kind, Pieces]:
    found: dict[Kind, list[tuple[float, ...]]] = {kind: [] for kind in Kind}
    for index, (run, batches) in enumerate(zip(runs, steps, strict=True)):
        chip = run.deployment.chip
        for place, batch in enumerate(batches):
            routed = _routed(run.deployment, batch)
            for work in work_of(run.deployment, batch):
                compute_s = work.flops / chip.peak_flops_per_s(work.precision)
                sent_s = work.sent / chip.link_bytes_per_s
                spoken = FORMATS.index(format_of(chip, work.precision))
                of_experts = routed if work.kind is Kind.EXPERTS else (0.0,) * 5
                found[work.kind].append(
                    (index, place, work.count, work.rows, compute_s, work.moved / chip.memory_bytes_per_s, sent_s,
                     work.peers, spoken, *of_experts)
                )  # fmt: skip
    return {kind: _laid(np.array(rows, dtype=np.float64).reshape(-1, 14)) for kind, rows in found.items()}


def _laid(rows: Array) -> Pieces:
    run, place = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    return Pieces(
        key=run * STEPS + place,
        run=run,
        count=rows[:, 2],
        rows=rows[:, 3],
        compute_s=rows[:, 4],
        memory_s=rows[:, 5],
        link_s=rows[:, 6],
        peers=rows[:, 7],
        format=rows[:, 8].astype(np.int64),
        experts=rows[:, 9:],
    )


def _routed(deployment: Deployment, batch: Batch) -> tuple[float, ...]:
    """Give what the time of routed experts needs where the share of tokens that choose at random is not known yet."""
    feed = next((layer.feed for layer in deployment.shape.layers if isinstance(layer.feed, Experts)), None)
    if feed is None:
        return (0.0,) * 5
    per_byte_s = 1 / deployment.chip.memory_bytes_per_s / deployment.chips
    one_s = feed.matrices * feed.width * feed.intermediate * deployment.weight_bytes * per_byte_s
    rows_s = 2 * batch.tokens * feed.active * feed.width * ACTIVATION_BYTES * per_byte_s
    return (feed.count, feed.active, batch.tokens, one_s, rows_s)
