// One round trip of a photograph with matrix-js-sdk, as Element makes it.
//
//     node roundtrip.mjs BASE_URL USER PASSWORD PICTURE FOLDER
//
// Logs in, uploads PICTURE under its own name, downloads it and fetches a thumbnail of 320 by 240. What came
// back is left in FOLDER (`download`, `thumbnail`); the last line on stdout is one JSON object that says how it
// was labelled. Exits with 1 when a call fails or the bytes are not the same.

import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { say, sdk } from "./sdk.mjs";

const [baseUrl, user, password, picture, folder] = process.argv.slice(2);

// The SDK makes the URL; fetching it with the token is the application's part.
async function fetchMedia(client, mxc, width, height, method) {
    const url = client.mxcUrlToHttp(mxc, width, height, method, false, true, true);
    const response = await fetch(url, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
    if (!response.ok) {
        throw new Error(`${url}: ${response.status} ${await response.text()}`);
    }
    return { headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
}

// RFC 6266: the extended form wins over the plain one.
function filenameIn(disposition) {
    const extended = /filename\*=utf-8''([^;]+)/i.exec(disposition ?? "");
    if (extended) {
        return decodeURIComponent(extended[1]);
    }
    return /filename="?([^";]+)"?/i.exec(disposition ?? "")?.[1] ?? null;
}

const login = await sdk.createClient({ baseUrl }).loginRequest({
    type: "m.login.password",
    identifier: { type: "m.id.user", user },
    password,
});
const client = sdk.createClient({ baseUrl, accessToken: login.access_token, userId: login.user_id });

const original = await readFile(picture);
const { content_uri } = await client.uploadContent(new Blob([original], { type: "image/jpeg" }), {
    name: basename(picture),
});
const download = await fetchMedia(client, content_uri);
const thumbnail = await fetchMedia(client, content_uri, 320, 240, "scale");

await writeFile(join(folder, "download"), download.bytes);
await writeFile(join(folder, "thumbnail"), thumbnail.bytes);
if (!download.bytes.equals(original)) {
    throw new Error("the downloaded bytes are not the uploaded ones");
}
say({
    content_uri,
    content_type: download.headers.get("content-type"),
    filename: filenameIn(download.headers.get("content-disposition")),
    thumbnail_content_type: thumbnail.headers.get("content-type"),
});
