"""An exchange without a base class: requests are files in ``<spool>/in``, answers files in ``<spool>/out``."""

from __future__ import annotations

from pathlib import Path

from guestagent_core import Request, Response

__all__ = ("SpoolExchange",)


class SpoolExchange:
    """Is asked every second, for it cannot wait."""

    def __init__(self, spool: str) -> None:
        self._in, self._out = Path(spool, "in"), Path(spool, "out")
        self._in.mkdir(parents=True, exist_ok=True)
        self._out.mkdir(exist_ok=True)
        self._open: set[str] = set()

    def get_request(self) -> Request | None:
        """Returns the first file that is not open."""
        for path in sorted(self._in.iterdir()):
            if path.suffix != ".new" and path.name not in self._open:
                self._open.add(path.name)
                return {"data": path.read_bytes(), "id": path.name}
        return None

    def put_response(self, request: Request, response: Response) -> None:
        """Writes the answer, then removes the request."""
        name = request["id"]
        data = response["data"]
        staged = self._out / f"{name}.new"
        staged.write_bytes(data.encode() if isinstance(data, str) else data)
        staged.rename(self._out / name)
        (self._in / name).unlink()
        self._open.discard(name)
