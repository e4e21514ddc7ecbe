"""Be where files and batches are asked for: find by its path which they are."""

from collections.abc import Awaitable, Callable

from bursar.core.ids import IdSource
from bursar.gateway.asgi import Receive, Scope, Send
from bursar.gateway.batches import content_files, files, gemini, messages, openai
from bursar.gateway.batches.content_files import ContentFiles
from bursar.gateway.batches.ending import Ending
from bursar.gateway.batches.files import Files
from bursar.gateway.batches.gemini import GeminiBatches
from bursar.gateway.batches.making import Making
from bursar.gateway.batches.message_files import MessageFiles
from bursar.gateway.batches.messages import MessageBatches
from bursar.gateway.batches.openai import OpenAIBatches
from bursar.gateway.batches.poller import Poller
from bursar.gateway.batches.visit import Reception, Visit
from bursar.gateway.calls import Calls
from bursar.gateway.config import Settings
from bursar.gateway.control import Control
from bursar.gateway.routes import Routes
from bursar.gateway.unmetered import Unmetered


class Desk:
    """Serve the routes of files and batches, and hold what serves those without a meter."""

    def __init__(self, settings: Settings, calls: Calls, routes: Routes, control: Control, ids: IdSource) -> None:
        self._reception = Reception(settings, calls, control, ids)
        making, ending = Making(calls, control), Ending(calls, control, routes)
        self.unmetered = Unmetered(settings.unmetered_routes, self._reception, routes)
        kept, named = Files(self._reception, routes, ending), MessageFiles(self._reception, routes)
        self.poller = Poller(calls, control, ending)
        geminis = GeminiBatches(self._reception, routes, making, ending)
        contents = ContentFiles(self._reception, routes)
        self._rooms: dict[str, Callable[[Visit], Awaitable[None]]] = {
            files.PATH: lambda visit: (named if visit.headers.anthropic else kept).serve(visit),
            openai.PATH: OpenAIBatches(self._reception, routes, making, ending, kept).serve,
            messages.PATH: MessageBatches(self._reception, routes, making, ending).serve,
            content_files.PATH: contents.serve,
            content_files.UPLOAD_PATH: contents.upload,
            gemini.PATH: geminis.serve,
            gemini.MODELS: geminis.make,
        }

    def takes(self, path: str) -> bool:
        """Tell whether a path is one of files or batches."""
        return self._below(path) is not None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises a `Refusal`."""
        below = self._below(scope["path"])
        assert below is not None
        reception = self._reception
        reception.check_full()
        stats = reception.calls.stats
        stats.under_way += 1
        try:
            await self._rooms[below](await reception.receive(scope, receive, send, below))
        finally:
            stats.under_way -= 1

    def _below(self, path: str) -> str | None:
        """Return which room a path leads to; of the paths of models, those that make a batch lead here."""
        found = next((each for each in self._rooms if path == each or path.startswith(each + "/")), None)
        return found if found != gemini.MODELS or path.endswith(gemini.CALLS) else None
