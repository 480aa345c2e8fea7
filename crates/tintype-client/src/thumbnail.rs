//! `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`: a picture in small.

use tintype_domain::Mxc;

use crate::{Client, MediaRequest};

const PATH: &[&str] = &["_matrix", "client", "v1", "media", "thumbnail"];

/// Which thumbnail: a size in pixels, which is the least that comes unless the picture is smaller, and a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thumbnail {
    width: u32,
    height: u32,
    method: &'static str,
    animated: bool,
}

impl Thumbnail {
    /// The whole picture, in its own shape.
    pub fn scale(width: u32, height: u32) -> Self {
        Self { width, height, method: "scale", animated: false }
    }

    /// The middle of the picture, in the shape that is asked for.
    pub fn crop(width: u32, height: u32) -> Self {
        Self { width, height, method: "crop", animated: false }
    }

    /// The same, moving if the picture moves and the server can do that.
    #[must_use]
    pub fn animated(self) -> Self {
        Self { animated: true, ..self }
    }
}

impl Client {
    /// Asks for a thumbnail; awaiting it gives its headers, and then its bytes.
    pub fn thumbnail(&self, mxc: &Mxc, thumbnail: Thumbnail) -> MediaRequest {
        let Thumbnail { width, height, method, animated } = thumbnail;
        let mut query =
            vec![("width", width.to_string()), ("height", height.to_string()), ("method", method.to_owned())];
        if animated {
            query.push(("animated", "true".to_owned()));
        }
        MediaRequest::new(self, PATH, mxc, query)
    }
}
