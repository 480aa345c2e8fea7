// One download with matrix-js-sdk that says what has arrived as it arrives.
//
//     node download.mjs BASE_URL USER_ID TOKEN MXC FILE
//
// Each line on stdout is one JSON object: `{"status": …, "content_type": …, "content_length": …}` for the head of the
// answer, `{"received": BYTES}` after each piece of the body, and at last `{"complete": true}`, when FILE holds the whole
// body, or `{"error": …}`, when it broke off. The end of stdin is the end of the viewer.

import { writeFile } from "node:fs/promises";

import { say, sdk } from "./sdk.mjs";

const [baseUrl, userId, accessToken, mxc, file] = process.argv.slice(2);

process.stdin.resume().on("end", () => process.exit(1));

// The SDK makes the URL; fetching it with the token is the application's part.
const client = sdk.createClient({ baseUrl, accessToken, userId });
const url = client.mxcUrlToHttp(mxc, undefined, undefined, undefined, false, true, true);
try {
    const response = await fetch(url, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
    say({
        status: response.status,
        content_type: response.headers.get("content-type"),
        content_length: response.headers.get("content-length"),
    });
    const pieces = [];
    let received = 0;
    for await (const piece of response.body) {
        pieces.push(piece);
        received += piece.length;
        say({ received });
    }
    await writeFile(file, Buffer.concat(pieces));
    say({ complete: true });
} catch (error) {
    say({ error: `${error}: ${error.cause ?? "no cause"}` });
}
process.exit(0);
