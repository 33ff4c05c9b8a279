"""A store of files: a directory tree read as a key-value store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import paths

__all__ = ("FilesStore",)


class FilesStore:
    """Reads what the host published from a folder: ``vm-data/hostname`` is the file of that path.

    A folder has an empty value, as in XenStore. Names that begin with a dot are left out: they are files being written.
    Symbolic links do not lead out of the folder.
    """

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.store_options]`` takes."""

        path: Path = Path("{state_dir}/store")
        """The folder."""

    def __init__(self, options: Options) -> None:
        self._root = options.path

    def read(self, path: str) -> bytes | None:
        """Returns the value at ``path``, None if there is none.

        :raises OSError: it is there and cannot be read.
        """
        try:
            return self._file(path).read_bytes()
        except IsADirectoryError:
            return b""
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, path: str) -> list[str]:
        """Returns the names directly below ``path`` in their order, none if it does not exist.

        :raises OSError: it is there and cannot be read.
        """
        try:
            return sorted(file.name for file in self._file(path).iterdir() if not file.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _file(self, path: str) -> Path:
        return paths.resolve(self._root, path)
