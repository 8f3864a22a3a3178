"""HTTP connections that give up on a client who does not get to the point."""

from asyncio import Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0
"""How long a connection may be without a request under way, the time for a request's head included; at most twice that."""

_BUSY = object()


class ImpatientConnection(HttpToolsProtocol):
    """Closes where no request's head has come for `HEAD_S`: uvicorn itself waits for the first one, and for half a one,
    forever, and only so many connections can be open."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        super().connection_made(transport)
        self._next_look = self.loop.call_later(HEAD_S, self._look, self._idle_since())

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._next_look.cancel()
        super().connection_lost(exc)

    def _idle_since(self) -> object:
        """The request that was answered last, None before the first one; `_BUSY` while one is under way."""
        return self.cycle if self.cycle is None or self.cycle.response_complete else _BUSY

    def _look(self, before: object) -> None:
        now = self._idle_since()
        if now is before and now is not _BUSY:
            self.transport.close()
        else:
            self._next_look = self.loop.call_later(HEAD_S, self._look, now)
