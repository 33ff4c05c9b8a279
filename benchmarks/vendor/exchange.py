"""The exchange of guestagent_acme: requests are files in ``in``, answers files of the same name in ``out``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from guestagent_core import Request, Response

__all__ = ("AcmeExchange",)


class AcmeExchange:
    """Takes requests from a folder that the host shares; it is asked every second."""

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.options]`` takes."""

        folder: Path = Path("{state_dir}/acme")
        """The folder that the host shares."""

    def __init__(self, options: Options) -> None:
        self._in, self._out = options.folder / "in", options.folder / "out"
        self._open: set[str] = set()

    def get_request(self) -> Request | None:
        """Returns the next file that is not open."""
        for file in sorted(self._in.glob("[!.]*")):
            if file.name not in self._open:
                self._open.add(file.name)
                return {"data": file.read_bytes(), "id": file.name}
        return None

    def put_response(self, request: Request, response: Response) -> None:
        """Writes the answer, then removes the request; raises if the host has removed it."""
        name, data = request["id"], response["data"]
        staged = self._out / f".{name}"
        staged.write_bytes(data.encode() if isinstance(data, str) else data)
        (self._in / name).unlink()
        staged.rename(self._out / name)
        self._open.discard(name)
