// An encrypted conversation of two people with matrix-js-sdk, as Element Web leads it.
//
//     node conversation.mjs BASE_URL PICTURE USER PASSWORD OTHER_USER PASSWORD
//
// Each line on stdout is one JSON object with what somebody has got to know in one step, and nothing that is another one
// in the next run; the last is `{"over": true}`. `rust/src/conversation.rs` is the same conversation with
// matrix-rust-sdk, and says the same. Exits with 1 when a call fails.

import { readFile } from "node:fs/promises";
import { basename } from "node:path";

import { decrypt, encrypt } from "./attachment.mjs";
import { answerTo, download, heard, meet, message, person, session } from "./people.mjs";
import { say, sdk } from "./sdk.mjs";

const { ClientEvent, RoomEvent, RoomMemberEvent } = sdk;

const PING = "org.tintype.ping";

const [baseUrl, picture, ...accounts] = process.argv.slice(2);
const [aliceWith, bobWith] = [accounts.slice(0, 2), accounts.slice(2, 4)];

const alice = await person(baseUrl, aliceWith);
const bob = await person(baseUrl, bobWith);
const { roomId, inviter } = await meet(alice, bob);
say({ invited_by: inviter });

// Messages, in both directions.
for (const [name, sender, reader, body] of [
    ["question", alice, bob, "Do you see this?"],
    ["answer", bob, alice, "I do."],
]) {
    const arrived = message(sender, reader, roomId);
    await sender.sendMessage(roomId, { msgtype: "m.text", body });
    const event = await arrived;
    say({ [name]: { type: event.getType(), sent_as: event.getWireType(), body: event.getContent().body } });
}

// An attachment.
const original = await readFile(picture);
const { ciphertext, keys } = encrypt(original);
const { content_uri: uri } = await alice.uploadContent(new Blob([ciphertext], { type: "application/octet-stream" }), {
    includeFilename: false,
});
const arrived = message(alice, bob, roomId);
await alice.sendMessage(roomId, {
    msgtype: "m.image",
    body: basename(picture),
    info: { mimetype: "image/jpeg", size: original.length },
    file: { url: uri, ...keys },
});
const shown = await arrived;
const { file } = shown.getContent();
const stored = await download(bob, file.url, bob.getAccessToken());
const bytes = new Uint8Array(await stored.arrayBuffer());
say({
    attachment: {
        filename: shown.getContent().body,
        is_stored_in_clear: original.equals(bytes),
        is_the_same: original.equals(decrypt(bytes, file)),
    },
});

// What is not a message.
const read = heard(alice, RoomEvent.Receipt, (event) => shown.getId() in event.getContent());
await bob.sendReadReceipt(shown);
const [receipt] = await read;
say({ read_by: Object.keys(receipt.getContent()[shown.getId()]["m.read"]) });
const types = heard(alice, RoomMemberEvent.Typing, (_, member) => member.typing);
await bob.sendTyping(roomId, true, 30_000);
const [, typist] = await types;
say({ typing: typist.userId });
const pinged = heard(alice, ClientEvent.ReceivedToDeviceMessage, ({ message }) => message.type === PING);
await bob.sendToDevice(
    PING,
    new Map([[alice.getUserId(), new Map([[alice.getDeviceId(), { text: "Are you there?" }]])]]),
);
const [{ message: ping }] = await pinged;
say({ ping: { from: ping.sender, content: ping.content } });

// Tokens that are good no more.
const other = await session(baseUrl, bobWith);
const ofOtherDevice = await answerTo(alice, uri, other.access_token);
const refused = await bob.deleteDevice(other.device_id).then(null, (error) => error.data);
await bob.deleteDevice(other.device_id, {
    type: "m.login.password",
    identifier: { type: "m.id.user", user: bobWith[0] },
    password: bobWith[1],
    session: refused.session,
});
say({ other_device: { before: ofOtherDevice, deleted: await answerTo(alice, uri, other.access_token) } });
const token = alice.getAccessToken();
const ofAlice = await answerTo(bob, uri, token);
await alice.logout(true);
say({ session: { before: ofAlice, logged_out: await answerTo(bob, uri, token) } });

say({ over: true });
process.exit(0);
