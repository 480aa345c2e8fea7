"""One round trip of a photograph with mautrix-python, as a bridge would make it.

    mautrix_roundtrip.py BASE_URL USER PASSWORD PICTURE FOLDER

Logs in, uploads PICTURE under its own name, downloads it and fetches a thumbnail of 320 by 240. What came
back is left in FOLDER (`download`, `thumbnail`); the last line on stdout is one JSON object that says how
it was labelled. Exits with 1 when a call of the client's fails or the bytes are not the same.

mautrix hands out bare bytes, so the labels are read from the responses as they pass by.
"""

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import ClientSession, TraceConfig
from mautrix.client import ClientAPI


async def main(base_url: str, user: str, password: str, picture: Path, folder: Path) -> None:
    labels = {}

    async def remember_labels(_session, _context, parameters) -> None:
        response = parameters.response
        for kind in ("download", "thumbnail"):
            if f"/{kind}/" in parameters.url.path:
                disposition = response.content_disposition
                labels[kind] = (
                    response.headers.get("Content-Type"),
                    disposition.filename if disposition else None,
                )

    trace = TraceConfig()
    trace.on_request_end.append(remember_labels)
    async with ClientSession(trace_configs=[trace]) as session:
        client = ClientAPI(base_url=base_url, client_session=session)
        await client.login(identifier=user, password=password)
        mxc = await client.upload_media(
            picture.read_bytes(), mime_type="image/jpeg", filename=picture.name
        )
        download = await client.download_media(mxc)
        thumbnail = await client.download_thumbnail(
            mxc, width=320, height=240, resize_method="scale"
        )

    (folder / "download").write_bytes(download)
    (folder / "thumbnail").write_bytes(thumbnail)
    if download != picture.read_bytes():
        sys.exit("the downloaded bytes are not the uploaded ones")
    print(
        json.dumps(
            {
                "content_uri": mxc,
                "content_type": labels["download"][0],
                "filename": labels["download"][1],
                "thumbnail_content_type": labels["thumbnail"][0],
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5])))
