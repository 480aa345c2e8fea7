"""One round trip of a photograph with matrix-nio, as a bot would make it.

    nio_roundtrip.py BASE_URL USER PASSWORD PICTURE FOLDER

Logs in, uploads PICTURE under its own name, downloads it and fetches a thumbnail of 320 by 240. What came
back is left in FOLDER (`download`, `thumbnail`); the last line on stdout is one JSON object that says how
it was labelled. Exits with 1 when a call of the client's fails or the bytes are not the same.
"""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from nio import AsyncClient, LoginResponse, MemoryDownloadResponse, ThumbnailResponse, UploadResponse
from nio.api import ResizingMethod


def expect(response, kind):
    """The response, or the end of the run with the client's own words for what went wrong."""
    if not isinstance(response, kind):
        sys.exit(f"expected {kind.__name__}, got {response!r}")
    return response


async def main(base_url: str, user: str, password: str, picture: Path, folder: Path) -> None:
    client = AsyncClient(base_url, user)
    try:
        expect(await client.login(password), LoginResponse)
        with picture.open("rb") as file:
            uploaded, _ = await client.upload(
                file,
                content_type="image/jpeg",
                filename=picture.name,
                filesize=picture.stat().st_size,
            )
        mxc = expect(uploaded, UploadResponse).content_uri
        download = expect(await client.download(mxc), MemoryDownloadResponse)
        parts = urlsplit(mxc)
        thumbnail = expect(
            await client.thumbnail(
                parts.netloc, parts.path.lstrip("/"), 320, 240, ResizingMethod.scale
            ),
            ThumbnailResponse,
        )
    finally:
        await client.close()

    (folder / "download").write_bytes(download.body)
    (folder / "thumbnail").write_bytes(thumbnail.body)
    if download.body != picture.read_bytes():
        sys.exit("the downloaded bytes are not the uploaded ones")
    print(
        json.dumps(
            {
                "content_uri": mxc,
                "content_type": download.content_type,
                "filename": download.filename,
                "thumbnail_content_type": thumbnail.content_type,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5])))
