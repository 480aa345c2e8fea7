// People with clients that sync all the time, and what happens between them.
//
// The polls of their syncs are answered after ten minutes if nothing happens. Whoever runs this has less patience, so it
// only ends well if each event answers a poll at once.

import { sdk } from "./sdk.mjs";

const { ClientEvent, MatrixEventEvent, RoomEvent, RoomMemberEvent, RoomStateEvent, SyncState } = sdk;

const POLL_TIMEOUT_MS = 10 * 60 * 1000;

/** A session of a user: what `/login` answers. */
export async function session(baseUrl, [user, password]) {
    return await sdk.createClient({ baseUrl }).loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user },
        password,
    });
}

/** A client that has logged in, has synced for the first time and goes on syncing. */
export async function person(baseUrl, account) {
    const login = await session(baseUrl, account);
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
    const body = { device_keys: { [client.getUserId()]: [] } };
    for (;;) {
        const { device_keys: keys } = await client.http.authedRequest(sdk.Method.Post, "/keys/query", undefined, body);
        if (keys[client.getUserId()]?.[client.getDeviceId()]) {
            return;
        }
    }
}

/** The arguments of the next `name` that `client` emits and that are `wanted`. To be called before what causes it. */
export function heard(client, name, wanted) {
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

/** Makes an encrypted room of `host`'s, where `guest` comes in. Returns its ID, and who has invited the guest. */
export async function meet(host, guest) {
    const { room_id: roomId } = await host.createRoom({
        preset: sdk.Preset.PrivateChat,
        initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    });
    const guestId = guest.getUserId();
    const invited = heard(
        guest,
        RoomEvent.MyMembership,
        (room, membership) => room.roomId === roomId && membership === "invite",
    );
    await host.invite(roomId, guestId);
    const [invitation] = await invited;
    const inviter = invitation.getMember(guestId).events.member.getSender();
    const isIn = (member) => member.roomId === roomId && member.userId === guestId && member.membership === "join";
    const seenByHost = heard(host, RoomMemberEvent.Membership, (_, member) => isIn(member));
    const seenByGuest = heard(guest, RoomStateEvent.Members, (_, state, member) => isIn(member));
    await guest.joinRoom(roomId);
    await Promise.all([seenByHost, seenByGuest]);
    return { roomId, inviter };
}

/** The next message of `sender`'s as `reader` gets it, deciphered. To be called before it is sent. */
export async function message(sender, reader, roomId) {
    const [event] = await heard(
        reader,
        MatrixEventEvent.Decrypted,
        (event) => event.getRoomId() === roomId && event.getSender() === sender.getUserId(),
    );
    if (event.isDecryptionFailure()) {
        throw new Error(`not deciphered: ${event.decryptionFailureReason}`);
    }
    return event;
}

/** Asks for media with a token. The SDK makes the URL; fetching it is the application's part. */
export async function download(client, mxc, token) {
    const url = client.mxcUrlToHttp(mxc, undefined, undefined, undefined, false, true, true);
    return await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
}

/** The status and error code that somebody gets who asks for media with a token. */
export async function answerTo(client, mxc, token) {
    const answer = await download(client, mxc, token);
    const errcode = answer.ok ? null : (await answer.json()).errcode;
    return { status: answer.status, errcode };
}
