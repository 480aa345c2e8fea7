//! The command line.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tintype_client::{Lifetime, Mxc};

use crate::output::Output;

/// Matrix media: upload, download, thumbnails.
#[derive(Parser)]
#[command(version, about)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    /// Print the result, or the error, as one JSON object.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the server is, and who asks.
#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The server's base URL; a host alone is reached over HTTPS [env: MXC_SERVER].
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<String>,
    /// The access token [env: MXC_TOKEN]. Other users of this machine can see command lines: prefer the others.
    #[arg(long, global = true, allow_hyphen_values = true)]
    pub token: Option<Secret>,
    /// A file that holds the access token [env: MXC_TOKEN_FILE].
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Upload a file, and print its mxc:// URI; with --encrypt, what opens it.
    Upload(Upload),
    /// Reserve an mxc:// URI for a later upload, and print it.
    Create(Create),
    /// Upload the content of a reserved URI. Where the server can, an interrupted upload of a file goes on by itself.
    Put(Put),
    /// Download media into a file, and print its path.
    Download(Download),
    /// Fetch a thumbnail of a picture into a file, and print its path.
    Thumbnail(Thumbnail),
    /// Copy media that you may see, and print the URI of the copy, which can be attached anew.
    Copy(Copy),
    /// Delete ephemeral media of your own, and print what became of it.
    Rm(Rm),
}

#[derive(Args)]
pub struct Upload {
    #[command(flatten)]
    pub content: ToSend,
    #[command(flatten)]
    pub keeping: Keeping,
    /// Encrypt it with a new key, and print what opens it (an EncryptedFile) instead of the URI. The server learns
    /// neither type nor name.
    #[arg(long, conflicts_with_all = ["content_type", "filename"])]
    pub encrypt: bool,
}

#[derive(Args)]
pub struct Create {
    #[command(flatten)]
    pub keeping: Keeping,
}

/// How long the server is to keep it, and for whom.
#[derive(Args)]
pub struct Keeping {
    /// Make it media that `mxc rm` can delete (MSC4425). Nothing is sent to a server that does not have this.
    #[arg(long)]
    pub ephemeral: bool,
    /// With --ephemeral: if the server does not have it, go on all the same. The media is then kept for ever.
    #[arg(long, requires = "ephemeral")]
    pub even_if_kept: bool,
    /// Make it media that only you see until it is attached to an event or to your profile (MSC3911). A server that does
    /// not have this stores nothing.
    #[arg(long, conflicts_with = "ephemeral")]
    pub restricted: bool,
}

#[derive(Args)]
pub struct Copy {
    /// The URI.
    pub mxc: Mxc,
}

#[derive(Args)]
pub struct Rm {
    /// The URIs.
    #[arg(required = true)]
    pub mxc: Vec<Mxc>,
}

#[derive(Args)]
pub struct Put {
    /// The URI, as `mxc create` printed it.
    pub mxc: Mxc,
    #[command(flatten)]
    pub content: ToSend,
    /// Whether an interrupted upload goes on where it stopped.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub resumable: Resumable,
    /// Go on with an upload of the same file that was interrupted earlier.
    #[arg(long = "continue")]
    pub go_on: bool,
}

/// What is sent.
#[derive(Args)]
pub struct ToSend {
    /// The file, or - for standard input.
    pub file: PathBuf,
    /// The content type; by default that of the file's extension.
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// The name to send along; by default the file's own. An empty one sends none.
    #[arg(long, value_name = "NAME")]
    pub filename: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Resumable {
    /// If the server says that it can.
    Auto,
    /// Without asking the server.
    Always,
    /// In one request, which is lost if it breaks.
    Never,
}

#[derive(Args)]
pub struct Download {
    /// The URI; with --decrypt that of the key file, if it is not given.
    #[arg(required_unless_present = "decrypt")]
    pub mxc: Option<Mxc>,
    /// Decrypt it with what this file holds, as `mxc upload --encrypt` printed it. Nothing is written under the file's
    /// name, or to standard output, before all of it is there and verified.
    #[arg(long, value_name = "KEYFILE")]
    pub decrypt: Option<PathBuf>,
    #[command(flatten)]
    pub saving: Saving,
}

#[derive(Args)]
pub struct Thumbnail {
    /// The URI.
    pub mxc: Mxc,
    /// The least width, in pixels.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    pub width: u32,
    /// The least height, in pixels.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    pub height: u32,
    /// The shape.
    #[arg(long, default_value = "scale")]
    pub method: Method,
    /// Moving, if the picture moves and the server can do that.
    #[arg(long)]
    pub animated: bool,
    #[command(flatten)]
    pub saving: Saving,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Method {
    /// The whole picture, in its own shape.
    Scale,
    /// The middle of it, in the shape of the size.
    Crop,
}

/// Where to, and how patiently.
#[derive(Args)]
pub struct Saving {
    /// The file or the folder to write to, or - for standard output. By default the file is called what its uploader
    /// called it, or else by its media ID.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite a file that exists.
    #[arg(long)]
    pub force: bool,
    /// Keep asking for so long while the media is not uploaded yet, such as 90s or 1h. By default it is asked for once.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
}

impl Arguments {
    /// How results are printed.
    pub fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::Text }
    }
}

impl Keeping {
    /// What the server is asked for.
    pub fn lifetime(&self) -> Lifetime {
        match (self.ephemeral, self.even_if_kept) {
            (false, _) => Lifetime::Kept,
            (true, false) => Lifetime::Ephemeral,
            (true, true) => Lifetime::EphemeralOrKept,
        }
    }
}

impl Saving {
    /// Whether the media itself is the output.
    pub fn to_stdout(&self) -> bool {
        self.output.as_deref() == Some(Path::new("-"))
    }
}

/// Text that is never printed.
#[derive(Clone)]
pub struct Secret(pub String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(secret: &str) -> Result<Self, Infallible> {
        Ok(Self(secret.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
