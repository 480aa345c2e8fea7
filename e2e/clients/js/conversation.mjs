// An encrypted conversation of two people with matrix-js-sdk, as Element Web leads it.
//
//     node conversation.mjs BASE_URL PICTURE USER PASSWORD OTHER_USER PASSWORD
//
// Each line on stdout is one JSON object with what somebody has got to know in one step, and nothing that is another one
// in the next run; the last is `{"over": true}`. `rust/src/conversation.rs` is the same conversation with
// matrix-rust-sdk, and says the same. Exits with 1 when a call fails.
//
// Both sync in a loop whose polls are answered after ten minutes if nothing happens. Whoever runs this has less
// patience, so it only ends well if each event answers a poll at once.

import { readFile } from "node:fs/promises";
import { basename } from "node:path";

import { loadCrypto, say, sdk } from "./sdk.mjs";

const { ClientEvent, MatrixEventEvent, RoomEvent, RoomMemberEvent, RoomStateEvent, SyncState } = sdk;

const [baseUrl, picture, ...accounts] = process.argv.slice(2);

const POLL_TIMEOUT_MS = 10 * 60 * 1000;
const PING = "org.tintype.ping";

/** A session of a user: what `/login` answers. */
async function session([user, password]) {
    return await sdk.createClient({ baseUrl }).loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user },
        password,
    });
}

/** Logs in, syncs for the first time and goes on syncing. */
async function person(account) {
    const login = await session(account);
    const client = sdk.createClient({
        baseUrl,
        userId: login.user_id,
        deviceId: login.device_id,
        accessToken: login.access_token,
    });
    // Node has no IndexedDB: everything stays in memory.
    await client.initRustCrypto({ useIndexedDB: false });
    const synced = heard(client, ClientEvent.Sync, (state) => state === SyncState.Prepared);
    await client.startClient({ pollTimeout: POLL_TIMEOUT_MS });
    await synced;
    await publishedKeys(client);
    return client;
}

/** Resolves when the server gives out the keys of the client's device: nobody could encrypt for it before. */
async function publishedKeys(client) {
    const headers = { "Authorization": `Bearer ${client.getAccessToken()}`, "Content-Type": "application/json" };
    const body = JSON.stringify({ device_keys: { [client.getUserId()]: [] } });
    for (;;) {
        const answer = await fetch(`${baseUrl}/_matrix/client/v3/keys/query`, { method: "POST", headers, body });
        const { device_keys } = await answer.json();
        if (device_keys[client.getUserId()]?.[client.getDeviceId()]) {
            return;
        }
    }
}

/** The arguments of the next `name` that `client` emits and that are `wanted`. To be called before what causes it. */
function heard(client, name, wanted) {
    return new Promise((resolve) => {
        const listener = (...values) => {
            if (wanted(...values)) {
                client.off(name, listener);
                resolve(values);
            }
        };
        client.on(name, listener);
    });
}

/** Sends `content` as `sender` and returns the event as `reader` gets it, deciphered. */
async function message(sender, reader, roomId, content) {
    const arrived = heard(
        reader,
        MatrixEventEvent.Decrypted,
        (event) => event.getRoomId() === roomId && event.getSender() === sender.getUserId(),
    );
    await sender.sendMessage(roomId, content);
    const [event] = await arrived;
    if (event.isDecryptionFailure()) {
        throw new Error(`not deciphered: ${event.decryptionFailureReason}`);
    }
    return event;
}

/** Asks for media with a token. The SDK makes the URL; fetching it is the application's part. */
async function download(client, mxc, token) {
    const url = client.mxcUrlToHttp(mxc, undefined, undefined, undefined, false, true, true);
    return await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
}

/** The status and error code that somebody gets who asks for media with a token. */
async function answerTo(client, mxc, token) {
    const answer = await download(client, mxc, token);
    const errcode = answer.ok ? null : (await answer.json()).errcode;
    return { status: answer.status, errcode };
}

const alice = await person(accounts.slice(0, 2));
const bob = await person(accounts.slice(2, 4));

// A room.
const { room_id: roomId } = await alice.createRoom({
    preset: sdk.Preset.PrivateChat,
    initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
});
const invited = heard(bob, RoomEvent.MyMembership, (room, membership) => room.roomId === roomId && membership === "invite");
await alice.invite(roomId, bob.getUserId());
const [invitation] = await invited;
const inviter = invitation.getMember(bob.getUserId()).events.member.getSender();
const joined = heard(
    alice,
    RoomMemberEvent.Membership,
    (_, member) => member.roomId === roomId && member.userId === bob.getUserId() && member.membership === "join",
);
const members = heard(
    bob,
    RoomStateEvent.Members,
    (_, state, member) => state.roomId === roomId && member.userId === bob.getUserId() && member.membership === "join",
);
await bob.joinRoom(roomId);
await Promise.all([joined, members]);
say({ invited_by: inviter });

// Messages, in both directions.
const spoken = (event) => ({ type: event.getType(), sent_as: event.getWireType(), body: event.getContent().body });
const question = await message(alice, bob, roomId, { msgtype: "m.text", body: "Do you see this?" });
say({ question: spoken(question) });
const answer = await message(bob, alice, roomId, { msgtype: "m.text", body: "I do." });
say({ answer: spoken(answer) });

// An attachment.
const crypto = await loadCrypto();
const original = await readFile(picture);
const encrypted = crypto.Attachment.encrypt(original);
const { content_uri: uri } = await alice.uploadContent(
    new Blob([encrypted.encryptedData], { type: "application/octet-stream" }),
    { includeFilename: false },
);
const shown = await message(alice, bob, roomId, {
    msgtype: "m.image",
    body: basename(picture),
    info: { mimetype: "image/jpeg", size: original.length },
    file: { url: uri, ...JSON.parse(encrypted.mediaEncryptionInfo) },
});
const { url, ...keys } = shown.getContent().file;
const stored = await download(bob, url, bob.getAccessToken());
const ciphertext = new Uint8Array(await stored.arrayBuffer());
const plaintext = crypto.Attachment.decrypt(new crypto.EncryptedAttachment(ciphertext, JSON.stringify(keys)));
say({
    attachment: {
        filename: shown.getContent().body,
        is_stored_in_clear: original.equals(ciphertext),
        is_the_same: original.equals(plaintext),
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
const other = await session(accounts.slice(2, 4));
const ofOtherDevice = await answerTo(alice, uri, other.access_token);
const refused = await bob.deleteDevice(other.device_id).then(null, (error) => error.data);
await bob.deleteDevice(other.device_id, {
    type: "m.login.password",
    identifier: { type: "m.id.user", user: accounts[2] },
    password: accounts[3],
    session: refused.session,
});
say({ other_device: { before: ofOtherDevice, deleted: await answerTo(alice, uri, other.access_token) } });
const token = alice.getAccessToken();
const ofAlice = await answerTo(bob, uri, token);
await alice.logout(true);
say({ session: { before: ofAlice, logged_out: await answerTo(bob, uri, token) } });

say({ over: true });
process.exit(0);
