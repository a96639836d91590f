"""Downloads single files of a repository on the model hub, and no byte twice.

huggingface_hub supplies the hub's address (HF_ENDPOINT), the token (HF_TOKEN, `hf auth login`),
the meaning of answers, and the retries. This module writes the files itself, for two reasons. In
that library (2.4), hf_hub_download deletes a partial file when it is interrupted. Its http_get
loses up to 10 MiB at every cut, restarts endlessly if a server cannot continue, and does not limit
the size of an answer.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx2
from huggingface_hub import HfApi, get_token, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff, tqdm

from lanscribe.backoff import Backoff
from lanscribe.manifest import has_digest

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0
PAUSES_S = tuple(map(Backoff(first_s=1.0, longest_s=16.0).pause_s, range(1, 6)))
"""The pauses between attempts that bring nothing new; after the last one the download fails."""
DOWNLOADS = 2
"""Full downloads of one file, if its content is not what the hub announces."""
RANGE_IS_OUTSIDE = 416
COME_AGAIN = (408, 429)
"""Statuses for rate limits: huggingface_hub retries when the hub says so, or soon."""
LONG_TO_READ_BYTES = 500_000_000

Say = Callable[[str], None]


class HubError(Exception):
    """A download failed; the message says what failed, why, and what may help."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub describes it."""

    name: str
    size_bytes: int
    digest: str
    """In the form of lanscribe.manifest."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of one commit of a repository."""

    repository: str
    commit: str
    files: tuple[RemoteFile, ...]


def list_files(repository: str, names: Sequence[str]) -> Listing:
    """Ask the hub for these files of the newest commit, in this order. Raises HubError."""
    with _explained(f"ask for the files of {repository}", repository):
        info = HfApi().model_info(repository, files_metadata=True, timeout=TIMEOUT_S)
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
        if missing := [name for name in names if name not in siblings]:
            raise HubError(f"{repository} has no {', '.join(missing)} on {_hub()}")
        files = tuple(_remote_file(siblings[name]) for name in names)
        return Listing(repository, info.sha or "", files)


def fetch(listing: Listing, file: RemoteFile, folder: Path, say: Say) -> None:
    """Put one file into the folder, continuing an interrupted download. Raises HubError."""
    path = folder / file.name
    with _explained(f"fetch {file.name}", listing.repository):
        if _size_bytes(path) == file.size_bytes and _is_announced(file, path, say):
            return
        partial = partial_path(folder, file)
        for _ in range(DOWNLOADS):
            if _download(listing, file, partial, say):
                partial.replace(path)
                return
            partial.unlink()
    raise HubError(
        f"{file.name} is not what {_hub()} announces ({file.size_bytes} bytes, {file.digest}), "
        f"downloaded {DOWNLOADS} times; the network changes it, or the hub is at fault: "
        "try again later, or use another network"
    )


def partial_path(folder: Path, file: RemoteFile) -> Path:
    """The path of a partial file. Its name has the digest: another version starts from 0."""
    return folder / f".{file.name}.{file.digest.partition(':')[2][:16]}.partial"


def bytes_to_fetch(listing: Listing, folder: Path) -> int:
    """The bytes still to download."""
    return sum(_bytes_missing(file, folder) for file in listing.files)


def _remote_file(sibling: RepoSibling) -> RemoteFile:
    if sibling.lfs is not None:
        return RemoteFile(sibling.rfilename, sibling.lfs.size, f"sha256:{sibling.lfs.sha256}")
    if sibling.size is None or sibling.blob_id is None:
        raise TypeError(f"no size or no hash for {sibling.rfilename}")
    return RemoteFile(sibling.rfilename, sibling.size, f"git:{sibling.blob_id}")


def _download(listing: Listing, file: RemoteFile, partial: Path, say: Say) -> bool:
    """Complete `partial`; whether it then is the announced file."""
    url = hf_hub_url(
        listing.repository, file.name, revision=listing.commit, endpoint=HfApi().endpoint
    )
    with partial.open("ab") as out:
        _lock(out, file.name)
        if out.tell() > file.size_bytes:
            out.truncate(0)
        beginning = f", continued at {_amount(out.tell())}" if out.tell() else ""
        say(f"fetching {file.name}, {_amount(file.size_bytes)}{beginning}")
        with tqdm(
            total=file.size_bytes,
            initial=out.tell(),
            unit="B",
            unit_scale=True,
            desc=file.name,
            disable=None,  # None: a bar only on a terminal
        ) as bar:
            _stream_to_the_end(url, file.size_bytes, out, bar)
        out.flush()
        os.fsync(out.fileno())
    return _size_bytes(partial) == file.size_bytes and _is_announced(file, partial, say)


def _is_announced(file: RemoteFile, path: Path, say: Say) -> bool:
    """Whether a file of the right size has the right content."""
    if file.size_bytes >= LONG_TO_READ_BYTES:
        say(f"checking {file.name}")
    return has_digest(path, file.digest)


def _stream_to_the_end(url: str, size_bytes: int, out: BinaryIO, bar: tqdm) -> None:
    """Resume the stream after every cut, until the file has its full size.

    Raises the last error after len(PAUSES_S) + 1 attempts in a row without a new byte. Returns
    early if the server has no more bytes.
    """
    most_bytes = out.tell()
    pauses_s = iter(PAUSES_S)
    while out.tell() < size_bytes:
        try:
            if _stream(url, out, bar, limit_bytes=size_bytes):
                return
        except (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError):
            if out.tell() > most_bytes:
                most_bytes, pauses_s = out.tell(), iter(PAUSES_S)
                continue
            pause_s = next(pauses_s, None)
            if pause_s is None:
                raise
            time.sleep(pause_s)


def _stream(url: str, out: BinaryIO, bar: tqdm, *, limit_bytes: int) -> bool:
    """Append the server's bytes after the end of `out`; True when the answer has ended.

    Reads at most one chunk beyond limit_bytes, so that a wrong answer cannot fill the disk.
    """
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start := out.tell():
        headers["Range"] = f"bytes={start}-"
    with http_stream_backoff(
        "GET",
        url,
        headers=headers,
        timeout=TIMEOUT_S,
        retry_on_exceptions=(),
        retry_on_status_codes=COME_AGAIN,
    ) as response:
        if response.status_code == RANGE_IS_OUTSIDE:
            return True
        hf_raise_for_status(response)
        if start and response.status_code != httpx2.codes.PARTIAL_CONTENT:
            out.truncate(0)  # the server sends the file from its beginning
            bar.update(-start)
        for chunk in response.iter_bytes(CHUNK_BYTES):
            out.write(chunk)
            bar.update(len(chunk))
            if out.tell() > limit_bytes:
                break
    return True


def _lock(out: BinaryIO, name: str) -> None:
    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HubError(f"another process is fetching {name}; wait until it ends") from None


def _bytes_missing(file: RemoteFile, folder: Path) -> int:
    if _size_bytes(folder / file.name) == file.size_bytes:
        return 0
    return max(file.size_bytes - max(_size_bytes(partial_path(folder, file)), 0), 0)


def _size_bytes(path: Path) -> int:
    """The size of a file; -1 if it is absent."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _amount(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


def _hub() -> str:
    return HfApi().endpoint


@contextmanager
def _explained(what: str, repository: str) -> Iterator[None]:
    """Turn errors raised inside into a HubError with a one-line message."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubError(f"cannot {what}: HF_HUB_OFFLINE forbids the network; unset it") from None
    except HfHubHTTPError as error:
        why = _refusal(error.response.status_code, repository)
        raise HubError(f"cannot {what}: {why}") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise HubError(f"cannot {what}: {_hub()}: {why}; check the network") from error
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise HubError(f"cannot {what}: {why}; free space, or make the folder writable") from error
    except (ValueError, TypeError, KeyError) as error:
        raise HubError(
            f"cannot {what}: the answer of {_hub()} cannot be parsed ({error}); perhaps "
            "a login page of the network intercepts it, or HF_ENDPOINT is wrong"
        ) from error


def _refusal(status: int, repository: str) -> str:
    """Why the hub refuses, from the HTTP status."""
    page = f"{_hub()}/{repository}"
    if status == httpx2.codes.UNAUTHORIZED and get_token():
        return f"{_hub()} does not accept the token (401); set HF_TOKEN to a valid one, or unset it"
    if status == httpx2.codes.UNAUTHORIZED:
        return f"{_hub()} requires a token (401); set HF_TOKEN to a token of your account"
    if status == httpx2.codes.FORBIDDEN:
        return f"access is denied (403); accept the terms at {page}, then set HF_TOKEN"
    if status == httpx2.codes.NOT_FOUND:
        return f"{page} does not exist (404); check HF_ENDPOINT"
    return f"{_hub()} answers with the status {status}; try again later"
