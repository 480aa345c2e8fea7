//! Who is given restricted media, and who is not.

mod gate;

/// What those hear who may not see it.
fn not_visible() -> (u16, String) {
    (403, "M_UNAUTHORIZED".to_owned())
}

/// What those hear for whom it does not exist.
fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}
