// Encrypted attachments, with the cryptography that matrix-js-sdk is built on; the SDK itself leaves them to applications.

import { load } from "./sdk.mjs";

const { default: crypto } = await load("@matrix-org/matrix-sdk-crypto-wasm");
await crypto.initAsync();

/** What is to be uploaded in place of `plaintext`, and all but the URL of the `file` of its event. */
export function encrypt(plaintext) {
    const attachment = crypto.Attachment.encrypt(plaintext);
    return { ciphertext: attachment.encryptedData, keys: JSON.parse(attachment.mediaEncryptionInfo) };
}

/** What was encrypted: fails when the bytes are not those that the event is about. */
export function decrypt(ciphertext, { url, ...keys }) {
    return crypto.Attachment.decrypt(new crypto.EncryptedAttachment(ciphertext, JSON.stringify(keys)));
}
