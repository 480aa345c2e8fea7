"""One asynchronous upload with mautrix-python, as a bridge makes it, at the pace of whoever writes to stdin.

    mautrix_asynchronous_upload.py BASE_URL BOT_ID GHOST_ID TOKEN FILE LENGTH [MXC]

GHOST_ID, a user of the bridge's, uploads FILE through the bridge's intent: `async_upload` reserves the URI, gives
it back at once and uploads in the background. LENGTH is `announced` or `unknown` (then the body goes in chunks). Given
an MXC, the upload goes to that reservation instead.

Each line on stdout is one JSON object: `{"content_uri": …}` when the URI is known, `{"sent": BYTES}` after each piece
that mautrix took, and `{"status": …}` when the server has answered the upload, or `{"error": …}` when it cannot. Each
line on stdin is a number: so many more bytes are sent, or with 0 all that are left. The end of stdin is the end of the
bridge.
"""

import asyncio
import json
import logging
import sys
from contextlib import suppress
from pathlib import Path

from aiohttp import ClientSession, TraceConfig
from mautrix.appservice import AppServiceAPI, ASStateStore
from mautrix.client import MemoryStateStore
from mautrix.errors import MatrixResponseError


class StateStore(MemoryStateStore, ASStateStore):
    """What a bridge knows of rooms and users, in memory."""

    def __init__(self) -> None:
        ASStateStore.__init__(self)
        MemoryStateStore.__init__(self)


def say(**message) -> None:
    print(json.dumps(message), flush=True)


async def orders() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def main(
    base_url: str, bot: str, ghost: str, token: str, file: Path, length: str, mxc: str | None = None
) -> None:
    original = file.read_bytes()
    lines = await orders()
    answered = asyncio.Event()

    async def as_told():
        sent = 0
        while sent < len(original):
            if not (order := await lines.readline()):
                sys.exit("nobody says how to go on")
            piece = original[sent : sent + int(order)] if int(order) else original[sent:]
            yield piece
            sent += len(piece)
            say(sent=sent)

    async def remember_the_answer(_session, _context, parameters) -> None:
        if parameters.method == "PUT":
            say(status=parameters.response.status)
            answered.set()

    async def remember_the_failure(_session, _context, parameters) -> None:
        if parameters.method == "PUT":
            say(error=repr(parameters.exception))
            answered.set()

    trace = TraceConfig()
    trace.on_request_end.append(remember_the_answer)
    trace.on_request_exception.append(remember_the_failure)
    async with ClientSession(trace_configs=[trace]) as session:
        bridge = AppServiceAPI(
            base_url=base_url,
            bot_mxid=bot,
            token=token,
            log=logging.getLogger("bridge"),
            state_store=StateStore(),
            client_session=session,
        )
        intent = bridge.intent(ghost)
        upload = {
            "mime_type": "video/mp4",
            "filename": file.name,
            "size": len(original) if length == "announced" else None,
        }
        if mxc is None:
            say(content_uri=await intent.upload_media(as_told(), async_upload=True, **upload))
        else:
            say(content_uri=mxc)
            # mautrix 0.21 looks for a content_uri in the answer, but the specification has it empty here. The status
            # tells whether the upload was taken.
            with suppress(MatrixResponseError):
                await intent.upload_media(as_told(), mxc=mxc, **upload)
        await answered.wait()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    asyncio.run(main(*sys.argv[1:5], Path(sys.argv[5]), *sys.argv[6:]))
