"""List the protocols there are."""

from collections.abc import Mapping
from typing import Final

from bursar.core.records import Protocol
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.gemini import GEMINI, STREAM_METHOD, WHOLE_METHOD
from bursar.wires.gemini_embed import GEMINI_EMBED, GEMINI_EMBED_MANY, MANY_METHOD, ONE_METHOD
from bursar.wires.openai_audio import OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS, OPENAI_TRANSLATIONS
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.openai_completions import OPENAI_COMPLETIONS
from bursar.wires.openai_embeddings import OPENAI_EMBEDDINGS
from bursar.wires.openai_images import OPENAI_IMAGE_EDITS, OPENAI_IMAGE_VARIATIONS, OPENAI_IMAGES
from bursar.wires.openai_moderations import OPENAI_MODERATIONS
from bursar.wires.openai_responses import OPENAI_RESPONSES
from bursar.wires.wire import Wire

TEXT_WIRES: Final[Mapping[Protocol, Wire]] = {
    wire.protocol: wire for wire in (OPENAI_CHAT, ANTHROPIC_MESSAGES, OPENAI_RESPONSES, GEMINI)
}
"""Those that a model's turn is asked for by; each can be put into each other."""

WIRES: Final[Mapping[Protocol, Wire]] = {
    **TEXT_WIRES,
    **{
        wire.protocol: wire
        for wire in (
            OPENAI_COMPLETIONS,
            OPENAI_EMBEDDINGS,
            OPENAI_MODERATIONS,
            OPENAI_IMAGES,
            OPENAI_IMAGE_EDITS,
            OPENAI_IMAGE_VARIATIONS,
            OPENAI_SPEECH,
            OPENAI_TRANSCRIPTIONS,
            OPENAI_TRANSLATIONS,
            GEMINI_EMBED,
            GEMINI_EMBED_MANY,
        )
    },
}

BATCH_ROUTES: Final[Mapping[Protocol, str]] = {
    Protocol.openai_batch: "/v1/batches",
    Protocol.anthropic_batch: "/v1/messages/batches",
    Protocol.gemini_batch: "/v1beta/batches",
}
"""Where batches are made, whose requests are of the protocols above."""

ROUTES: Final = (*dict.fromkeys(wire.route for wire in WIRES.values()), *BATCH_ROUTES.values())
"""Where clients call, each once."""

PATH_WIRES: Final[Mapping[str, Wire]] = {
    WHOLE_METHOD: GEMINI,
    STREAM_METHOD: GEMINI,
    ONE_METHOD: GEMINI_EMBED,
    MANY_METHOD: GEMINI_EMBED_MANY,
}
"""Those that name the model in the path, by what is asked of it there."""

BODY_WIRES: Final[Mapping[str, Wire]] = {wire.route: wire for wire in WIRES.values() if wire not in PATH_WIRES.values()}
"""Those that name the model in the body, by their route."""
