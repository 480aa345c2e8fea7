// A picture that belongs to the message it is sent in (MSC3911), with matrix-js-sdk, which knows nothing of that: an
// application needs no more than its function for requests of any kind.
//
//     node linked_picture.mjs BASE_URL PICTURE USER PASSWORD OTHER_USER PASSWORD STRANGER PASSWORD
//
// The room is encrypted, and so is the picture. Each line on stdout is one JSON object with what somebody has got to know
// in one step, the last is `{"over": true}`. Exits with 1 when a call fails.

import { readFile } from "node:fs/promises";
import { basename } from "node:path";

import { decrypt, encrypt } from "./attachment.mjs";
import { answerTo, download, heard, meet, message, person, session } from "./people.mjs";
import { say, sdk } from "./sdk.mjs";

const PROPOSAL = "org.matrix.msc3911";

const [baseUrl, picture, ...accounts] = process.argv.slice(2);

const alice = await person(baseUrl, accounts.slice(0, 2));
const bob = await person(baseUrl, accounts.slice(2, 4));
const stranger = await session(baseUrl, accounts.slice(4, 6));
const { roomId } = await meet(alice, bob);

const answers = async (mxc) => ({
    alice: await answerTo(alice, mxc, alice.getAccessToken()),
    bob: await answerTo(bob, mxc, bob.getAccessToken()),
    stranger: await answerTo(bob, mxc, stranger.access_token),
});

/** Sends an encrypted message to which `mxc` belongs from then on, with one transaction ID for each `attempt`. */
async function sendWith(mxc, content, attempt) {
    const event = new sdk.MatrixEvent({ type: "m.room.message", room_id: roomId, sender: alice.getUserId(), content });
    await alice.getCrypto().encryptEvent(event, alice.getRoom(roomId));
    return await alice.http.authedRequest(
        sdk.Method.Put,
        `/rooms/${encodeURIComponent(roomId)}/send/${event.getWireType()}/${attempt}`,
        { [`${PROPOSAL}.attach_media`]: [mxc] },
        event.getWireContent(),
    );
}

// Uploaded, and not sent.
const original = await readFile(picture);
const { ciphertext, keys } = encrypt(original);
const { content_uri: url } = await alice.http.authedRequest(sdk.Method.Post, "/upload", undefined, ciphertext, {
    prefix: `/_matrix/client/unstable/${PROPOSAL}/media`,
    headers: { "Content-Type": "application/octet-stream" },
});
say({ uploaded: await answers(url) });

// Sent.
const content = {
    msgtype: "m.image",
    body: basename(picture),
    info: { mimetype: "image/jpeg", size: original.length },
    file: { url, ...keys },
};
const arrived = message(alice, bob, roomId);
const { event_id: eventId } = await sendWith(url, content, "first");
const shown = await arrived;
const { file } = shown.getContent();
const stored = await download(bob, file.url, bob.getAccessToken());
const bytes = new Uint8Array(await stored.arrayBuffer());
say({
    shown: {
        is_the_event: shown.getId() === eventId,
        filename: shown.getContent().body,
        is_the_same: original.equals(decrypt(bytes, file)),
        cache_control: stored.headers.get("cache-control"),
    },
});
say({ sent: await answers(url) });

// Sent again.
const again = await sendWith(url, content, "second").then(
    () => null,
    (error) => ({ status: error.httpStatus, errcode: error.errcode }),
);
say({ sent_again: again });

// Redacted.
const redacted = heard(bob, sdk.RoomEvent.Redaction, (event) => event.getAssociatedId() === eventId);
await alice.redactEvent(roomId, eventId);
await redacted;
// The homeserver tells clients and Tintype at the same time, so one may hear of it a moment before the other.
while ((await answerTo(bob, url, bob.getAccessToken())).status === 200);
say({ redacted: await answers(url) });

say({ over: true });
process.exit(0);
