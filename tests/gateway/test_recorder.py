"""An answer is given again only if it was given to its end."""

from typing import Any

from bursar.gateway.asgi import JSON
from bursar.gateway.recorder import Recorder


class Nowhere:
    async def send(self, message: dict[str, Any]) -> None:
        return

    def put(self, body: bytes, *, more: bool = True) -> bool:
        return True


async def test_an_answer_is_given_again_only_if_it_was_whole() -> None:
    recorder = Recorder(Nowhere())
    assert recorder.replay() is None  # a call that failed before its answer began has none to repeat
    await recorder.send({"type": "http.response.start", "status": 200, "headers": [JSON, (b"content-length", b"4")]})
    await recorder.send({"type": "http.response.body", "body": b"on", "more_body": True})
    assert recorder.put(b"c")
    assert recorder.replay() is None
    await recorder.send({"type": "http.response.body", "body": b"e", "more_body": False})
    replay = recorder.replay()
    assert replay is not None
    assert (replay.status, replay.headers, replay.body) == (200, [JSON], b"once")
