"""Large objects in parts, several at a time: uploads of unknown length, and copies on the server."""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from urllib3 import BaseHTTPResponse

from agent.adapters.s3.client import S3Client
from agent.adapters.s3.errors import S3Failure
from agent.errors import StoreUnavailable

PARALLEL = 4
_UPLOAD_ID = re.compile(r"<UploadId>([^<]+)</UploadId>")
_ETAG = re.compile(r"<ETag>([^<]+)</ETag>")
_BINARY = {"Content-Type": "application/octet-stream"}

T = TypeVar("T")


def split(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the bytes of `chunks` in parts of `size` bytes, the last one as long as it is; nothing for no bytes."""
    waiting = bytearray()
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            waiting += chunk[start : start + size]
            if len(waiting) >= size:
                yield bytes(waiting[:size])
                del waiting[:size]
    if waiting:
        yield bytes(waiting)


def upload(client: S3Client, bucket: str, key: str, parts: Iterable[bytes]) -> None:
    """Store the parts as one object, which appears when the last one is there.

    At most PARALLEL parts and the one that is being read are in memory.
    """
    sizes: list[int] = []

    with _begun(client, bucket, key) as upload_id:

        def send(number: int, part: bytes) -> str:
            query = {"partNumber": str(number), "uploadId": upload_id}
            return etag_of(client.call("PUT", bucket, key, body=part, query=query))

        def tasks() -> Iterator[Callable[[], str]]:
            for number, part in enumerate(parts, 1):
                sizes.append(len(part))
                yield partial(send, number, part)

        etags = _in_parallel(tasks())
        _complete(client, bucket, key, upload_id, etags, sum(sizes))


def copy(client: S3Client, source: str, etag: str, size: int, part: int, bucket: str, key: str) -> None:
    """Copy `size` bytes of the object `source` ("/bucket/key", quoted) on the server, in ranges of `part` bytes."""
    with _begun(client, bucket, key) as upload_id:

        def task(number: int, first: int) -> str:
            headers = {
                "x-amz-copy-source": source,
                "x-amz-copy-source-if-match": etag,
                "x-amz-copy-source-range": f"bytes={first}-{min(first + part, size) - 1}",
            }
            query = {"partNumber": str(number), "uploadId": upload_id}
            return _found(_ETAG, client.call("PUT", bucket, key, headers=headers, query=query).data)

        etags = _in_parallel(partial(task, number, first) for number, first in enumerate(range(0, size, part), 1))
        _complete(client, bucket, key, upload_id, etags, size)


def _in_parallel(tasks: Iterable[Callable[[], T]]) -> list[T]:
    """Return what the tasks return, in order; no more than PARALLEL of them have been taken and are not done."""
    done: list[T] = []
    running: deque[Future[T]] = deque()
    with ThreadPoolExecutor(PARALLEL, "s3-parts") as pool:
        for task in tasks:
            running.append(pool.submit(task))
            if len(running) == PARALLEL:
                done.append(running.popleft().result())
        done += [future.result() for future in running]
    return done


@contextmanager
def _begun(client: S3Client, bucket: str, key: str) -> Iterator[str]:
    """Give the id of a new upload; whatever ends the block too early takes back what was sent."""
    begun = client.call("POST", bucket, key, headers=_BINARY, query={"uploads": ""})
    upload_id = _found(_UPLOAD_ID, begun.data)
    ended = False
    try:
        yield upload_id
        ended = True
    finally:
        if not ended:
            # Parts that stay because the server is away are removed by the server's own rule for old uploads.
            with suppress(StoreUnavailable):
                client.call("DELETE", bucket, key, query={"uploadId": upload_id})


def _complete(client: S3Client, bucket: str, key: str, upload_id: str, etags: list[str], size: int) -> None:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{html.escape(etag)}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    headers = {"Content-Type": "application/xml"}
    try:
        client.call("POST", bucket, key, body=body, headers=headers, query={"uploadId": upload_id})
    except S3Failure as error:
        # The upload is gone when it was completed and only the answer was lost.
        if error.code != "NoSuchUpload" or not _is_there(client, bucket, key, len(etags), size):
            raise


def _is_there(client: S3Client, bucket: str, key: str, parts: int, size: int) -> bool:
    try:
        headers = client.call("HEAD", bucket, key).headers
    except S3Failure:
        return False
    return headers.get("Content-Length") == str(size) and headers.get("ETag", "").strip('"').endswith(f"-{parts}")


def etag_of(answer: BaseHTTPResponse) -> str:
    """Return the tag of the object or part that an answer is about. Raises StoreUnavailable."""
    etag = answer.headers.get("ETag")
    if etag is None:
        raise StoreUnavailable("the S3 server's answer has no ETag")
    return etag


def _found(pattern: re.Pattern[str], data: bytes) -> str:
    match = pattern.search(data.decode("utf-8", "replace"))
    if match is None:
        raise StoreUnavailable(f"the S3 server's answer has no {pattern.pattern.partition('>')[0].lstrip('<')}")
    return html.unescape(match[1])
