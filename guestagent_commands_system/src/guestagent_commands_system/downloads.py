"""Archives fetched from where a host says, and held against the digest that it gives."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from guestagent_core import CommandError, CommandTimeoutError, InvalidArgumentError

if TYPE_CHECKING:
    from io import BufferedIOBase

    from guestagent_core import Context

    from .options import UpdateOptions

__all__ = ("Source", "fetch")

_SILENCE = 30.0  # seconds; how long a server may keep silent
_CHUNK = 256 * 1024
_DIGESTS = {32: "md5", 64: "sha256"}
_LONGEST_SHOWN = 80  # characters


@dataclass(frozen=True)
class Source:
    """An archive and its digest, as a host names them."""

    url: str
    digest: str

    @classmethod
    def from_value(cls, value: object) -> Source:
        """Returns the argument of ``agentupdate``: ``URL,DIGEST``, or an object with ``url`` and ``md5sum``.

        :raises InvalidArgumentError: it is neither.
        """
        if isinstance(value, str):
            url, comma, digest = value.partition(",")
            if not comma:
                raise InvalidArgumentError("need more than 1 value to unpack")
        elif isinstance(value, dict):
            if "url" not in value or "md5sum" not in value:
                raise InvalidArgumentError("Missing URL or MD5 sum in dictionary arguments")
            url, digest = value["url"], value["md5sum"]
        else:
            raise InvalidArgumentError("Invalid arguments")
        return cls._checked(url, digest)

    @classmethod
    def _checked(cls, url: object, digest: object) -> Source:
        if not isinstance(url, str) or not isinstance(digest, str):
            raise InvalidArgumentError("Invalid arguments")
        if "." not in url.rpartition("/")[2] or "/" not in url or re.search(r"[\0-\x20\x7f]", url):
            raise InvalidArgumentError("Invalid URL")
        return cls(url, digest)

    @property
    def local_name(self) -> str:
        """The name of the archive here: that of the URL, with the number of this process in it."""
        name, _, rest = self.url.rpartition("/")[2].partition(".")
        return f"{name[-100:]}-{os.getpid()}.{rest[-100:]}"


def fetch(context: Context, source: Source, target: Path, options: UpdateOptions) -> None:
    """Writes the archive to ``target``.

    :raises CommandError: it cannot be had, is too large, or has another digest; then there is no ``target``.
    """
    algorithm = _DIGESTS.get(len(source.digest), "md5")
    if options.require_sha256 and algorithm != "sha256":
        raise CommandError("The configuration insists on a SHA-256 digest (require_sha256)")
    from http.client import HTTPException

    try:
        with _open(context, source.url, options) as stream, target.open("xb") as file:
            got = _copy(context, stream, file, algorithm, options.size_limit)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, CommandError):  # one of them is a TimeoutError, and so an OSError too
            raise
        if isinstance(error, (OSError, HTTPException, ValueError)):
            raise _told(error, source.url) from error
        raise
    if got != source.digest:
        target.unlink()
        raise CommandError(f"{algorithm.upper()} sums do not match ({source.digest[:_LONGEST_SHOWN]} != {got})")


def _open(context: Context, url: str, options: UpdateOptions) -> BufferedIOBase:
    try:
        scheme, path = urlsplit(url).scheme.lower(), urlsplit(url).path
    except ValueError:  # a network address that is none
        raise CommandError("Invalid URL") from None
    if scheme == "file":
        return _open_file(context, unquote(path))
    if scheme not in ("http", "https"):
        raise CommandError("Only http, https and file URLs are accepted")
    from urllib import request

    opener = request.OpenerDirector()
    # These and no others, so that a redirection leads to no other scheme either.
    handlers: list[request.BaseHandler] = [
        request.ProxyHandler(),
        request.HTTPSHandler(),
        request.HTTPRedirectHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
    ]
    if not options.require_https:
        handlers.append(request.HTTPHandler())
    elif scheme == "http":
        raise CommandError("The configuration insists on https (require_https)")
    for handler in handlers:
        opener.add_handler(handler)
    opened: BufferedIOBase = opener.open(url, timeout=min(_SILENCE, max(context.deadline - time.monotonic(), 0.1)))
    return opened


def _open_file(context: Context, path: str) -> BufferedIOBase:
    file = context.path(path)
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "Not a file")  # opening a queue would wait for its other end
    return file.open("rb")


def _told(error: Exception, url: str) -> CommandError:
    from http.client import InvalidURL

    # Its text shows a part of the URL, which may be a password: "nonnumeric port: 'PASSWORD@host'".
    if isinstance(error, InvalidURL) or (isinstance(error, ValueError) and not isinstance(error, OSError)):
        return CommandError("Invalid URL")
    if isinstance(error, OSError) and urlsplit(url).scheme.lower() == "file":
        return CommandError(f"[Errno {error.errno}] {error.strerror}: {unquote(urlsplit(url).path)!r}")
    return CommandError(str(error) or type(error).__name__)


def _copy(context: Context, stream: BufferedIOBase, file: IO[bytes], algorithm: str, limit: int) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
    size = 0
    # As it comes, however slowly: read() would wait for a whole chunk, beyond every deadline. But before Python 3.13
    # read1() looks for more after the last byte, until the server hangs up.
    length = getattr(stream, "length", None)
    while chunk := stream.read1(_CHUNK if length is None else min(_CHUNK, length - size)):
        size += len(chunk)
        if size > limit:
            raise CommandError(f"The archive is larger than {limit} bytes (size_limit)")
        if time.monotonic() > context.deadline:
            raise CommandTimeoutError("The archive did not arrive in time")
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()
