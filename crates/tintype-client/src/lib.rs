//! A client of Matrix content repositories, made to be read: it shows how the media endpoints of the client-server API
//! are meant to be used, with [Tintype](https://github.com/tintype/tintype)'s additions where a server has them.
//!
//! | verb | what |
//! | --- | --- |
//! | [`Client::upload`] | bytes in, a new URI out |
//! | [`Client::create`], [`Client::put`] | the URI first, the bytes later (MSC2246); an interrupted upload goes on |
//! | [`Client::download`] | the bytes, if asked also of media that is still to come; a broken download goes on |
//! | [`Client::thumbnail`] | a picture in small |
//! | [`Client::upload_encrypted`], [`Download::decrypt`] | attachments that the server cannot read |
//! | [`Upload::ephemeral`], [`Client::delete`] | media that can be deleted again (MSC4425) |
//! | [`Upload::restricted`], [`Client::copy`] | media that belongs to an event (MSC3911) |
//!
//! Everything is streamed: the memory that a transfer takes does not depend on its size, unless
//! [`Download::bytes`] or [`EncryptedDownload::bytes`] is asked for. A download that ends too early is an error, never a
//! short file. All errors are [`Error`]s, with the server's own words in [`Error::Matrix`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tintype_client::{Client, ErrorCode};
//!
//! let client = Client::builder("https://matrix.example.org".parse()?).access_token("secret").build()?;
//! let mxc = client.upload("hello").content_type("text/plain").filename("hello.txt").await?;
//! match client.download(&mxc).wait(Duration::from_mins(5)).await {
//!     Ok(download) => println!("{:?}", download.bytes(1024 * 1024).await?),
//!     Err(error) if error.errcode() == Some(&ErrorCode::NOT_YET_UPLOADED) => println!("not there yet"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod create;
mod delete;
mod download;
mod encrypted_download;
mod encrypted_file;
mod encrypted_upload;
mod ephemeral;
mod error;
mod exchange;
mod features;
mod header;
mod http;
mod media;
mod put;
mod restricted;
mod resumable;
mod retry;
mod source;
mod thumbnail;
mod upload;

pub use tintype_domain::{Mxc, ParseMxcError};
pub use url::Url;

pub use self::{
    client::{Client, ClientBuilder},
    create::{Create, Reservation},
    delete::Deletion,
    download::Download,
    encrypted_download::{EncryptedDownload, Existing},
    encrypted_file::{EncryptedFile, EncryptedFileError},
    encrypted_upload::{EncryptedUpload, Encryption},
    ephemeral::{EphemeralSupport, Lifetime},
    error::{Error, ErrorCode, MatrixError, TransportError, TransportErrorKind},
    http::Proxy,
    media::MediaRequest,
    put::{Put, Resumable},
    retry::{Event, Retry},
    source::Source,
    thumbnail::Thumbnail,
    upload::Upload,
};
