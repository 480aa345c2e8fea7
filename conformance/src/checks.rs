//! Every check, with the sentence of MSC4425 that it is of. The page in the book has one row for each.

/// One thing that can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// How it is called in the output and in the book.
    pub name: &'static str,
    /// What the proposal says.
    pub sentence: &'static str,
}

macro_rules! checks {
    ($($constant:ident = $name:literal, $sentence:literal;)*) => {
        $(pub(crate) const $constant: Check = Check { name: $name, sentence: $sentence };)*
        /// All of them, in the order in which they are made.
        pub const ALL: &[Check] = &[$($constant),*];
    };
}

checks! {
    UPLOAD_FLAG = "upload-flag", "On POST /_matrix/media/v3/upload, a new ephemeral boolean query string parameter is added.";
    CREATE_FLAG = "create-flag", "On POST /_matrix/media/v1/create, a new ephemeral boolean query string parameter is added.";
    DEFAULT_KEPT = "default-kept", "ephemeral defaults to false.";
    FALSE_KEPT = "false-kept", "When ephemeral is true, the uploader can later delete the media.";
    DELETE_OWN = "delete-own", "200 OK + empty JSON object - The media was deleted or flagged as deleted on the server.";
    GONE_DOWNLOAD = "gone-download", "The media was deleted: GET /_matrix/client/v1/media/download gives nothing of it.";
    GONE_HEAD = "gone-head", "The media was deleted: HEAD gives nothing of it.";
    GONE_RANGE = "gone-range", "The media was deleted: a Range gives nothing of it.";
    GONE_OLD = "gone-old-endpoints", "The media was deleted: the deprecated endpoints give nothing of it.";
    GONE_THUMBNAIL = "gone-thumbnail", "Thumbnails MUST be deleted at the same time as the media object.";
    DELETE_AGAIN = "delete-again", "404 M_NOT_FOUND - The media was already deleted or was not found. (403 M_FORBIDDEN lists \"was not found\" too.)";
    DELETE_UNKNOWN = "delete-unknown", "404 - The media was not found; 403 - The media was not found.";
    DELETE_REMOTE = "delete-remote", "404 - The media was not found; 403 - The media was not uploaded by the user.";
    DELETE_KEPT = "delete-kept", "403 M_FORBIDDEN - The media is not ephemeral.";
    DELETE_ANOTHERS = "delete-anothers", "403 M_FORBIDDEN - The media was not uploaded by the user.";
    DELETE_TOKENLESS = "delete-without-token", "This new endpoint requires authentication.";
    DELETE_GUEST = "delete-guest", "The new endpoint is not available to guests.";
    ID_ONCE = "id-used-once", "Servers will likely need to track that they used the media ID even if the media has been deleted.";
    TOLD_DOWNLOAD = "told-download", "Over federation, ephemeral media is denoted in the media metadata during download.";
    TOLD_THUMBNAIL = "told-thumbnail", "Over federation, ephemeral media is denoted in the media metadata during thumbnailing.";
    TOLD_KEPT = "told-kept", "Like the Client-Server API changes, ephemeral is optional and defaults to false.";
    GONE_SERVERS = "gone-for-servers", "The media was deleted: other servers get nothing of it, nor of its thumbnails.";
    FETCH_EPHEMERAL = "fetch-ephemeral", "When a server downloads ephemeral media over federation: it can.";
    FETCH_THUMBNAIL = "fetch-thumbnail", "When a server downloads ephemeral media (or its thumbnail) over federation: it can.";
    FETCH_ODD = "fetch-odd-flag", "Values which aren't booleans are considered false too.";
    FETCH_DELETED = "fetch-after-deletion", "Later, when the media is deleted, the remote server also implicitly deletes it: within a day.";
    DAY_MEDIA = "day-media", "It MUST NOT cache that response for longer than 1 day.";
    DAY_THUMBNAIL = "day-thumbnail", "It MUST NOT cache that response (ephemeral media or its thumbnail) for longer than 1 day.";
    NO_NOTICE = "no-notice", "Notifications to other servers/users are not sent when media is deleted.";
}
