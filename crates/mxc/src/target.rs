//! Where a download is written.
//!
//! It is written to a file beside the target, which is renamed when it is whole: whoever sees the target sees all of
//! it. Whatever goes wrong, the other file is removed. The rename itself refuses to overwrite, so that a file which
//! appears during the download is not lost either.

use std::{
    fs::{self, Permissions},
    io::{self, SeekFrom},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tempfile::TempPath;
use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWrite, Stdout, stdout},
};

use crate::{arguments::Saving, failure::printable, file_name};

/// Where to write.
pub enum Target {
    Stdout,
    /// A pipe or a device, which can only be written to.
    Special(PathBuf),
    File(PathBuf, Existing),
    /// A file in this folder, whose name is not known yet.
    Folder(PathBuf, Existing),
}

/// What becomes of a file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Keep,
    Replace,
}

/// Where it is being written.
pub enum Sink {
    Stdout(Stdout),
    Special(File),
    File { file: File, temporary: TempPath, path: PathBuf, existing: Existing },
}

impl Target {
    /// What the command line says; refuses at once what can only be refused later.
    pub fn of(saving: &Saving) -> anyhow::Result<Self> {
        let existing = if saving.force { Existing::Replace } else { Existing::Keep };
        let Some(path) = &saving.output else { return Ok(Self::Folder(PathBuf::new(), existing)) };
        if saving.to_stdout() {
            return Ok(Self::Stdout);
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self::Folder(path.clone(), existing)),
            Ok(metadata) if !metadata.is_file() => Ok(Self::Special(path.clone())),
            _ => {
                check(path, existing)?;
                Ok(Self::File(path.clone(), existing))
            }
        }
    }

    /// Begins to write; `name` is what the uploader called it, and `media_id` stands in for it.
    pub fn open(self, name: Option<&str>, media_id: &str) -> anyhow::Result<Sink> {
        let (path, existing) = match self {
            Self::Stdout => return Ok(Sink::Stdout(stdout())),
            Self::Special(path) => {
                let file = fs::OpenOptions::new().write(true).open(&path);
                let file = file.with_context(|| format!("writing to {}", shown(&path)))?;
                return Ok(Sink::Special(File::from_std(file)));
            }
            Self::File(path, existing) => (path, existing),
            Self::Folder(folder, existing) => {
                let name = name.and_then(file_name::safe).or_else(|| file_name::safe(media_id));
                (folder.join(name.as_deref().unwrap_or("media")), existing)
            }
        };
        check(&path, existing)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        // As any new file: the process's mask takes away what it takes away.
        builder.prefix(".mxc-").suffix(".part").permissions(Permissions::from_mode(0o666));
        let temporary = builder.tempfile_in(folder).with_context(|| format!("writing to {}", shown(&path)))?;
        let (file, temporary) = temporary.into_parts();
        Ok(Sink::File { file: File::from_std(file), temporary, path, existing })
    }
}

fn check(path: &Path, existing: Existing) -> anyhow::Result<()> {
    // A link that leads nowhere is something too.
    if existing == Existing::Keep && fs::symlink_metadata(path).is_ok() {
        bail!("{} exists already; --force overwrites it", shown(path));
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}

impl Sink {
    /// To write to.
    pub fn writer(&mut self) -> &mut (dyn AsyncWrite + Unpin + Send) {
        match self {
            Self::Stdout(stdout) => stdout,
            Self::Special(file) | Self::File { file, .. } => file,
        }
    }

    /// Whether nobody sees what is written before [`finish`](Self::finish).
    pub fn is_hidden(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Forgets what was written, if that is possible.
    pub async fn rewind(&mut self) -> io::Result<bool> {
        let Self::File { file, .. } = self else { return Ok(false) };
        file.seek(SeekFrom::Start(0)).await?;
        file.set_len(0).await?;
        Ok(true)
    }

    /// Everything was written: gives the path of the file, if it is one.
    pub fn finish(self) -> anyhow::Result<Option<PathBuf>> {
        let Self::File { temporary, path, existing, .. } = self else { return Ok(None) };
        let renamed = match existing {
            Existing::Replace => temporary.persist(&path),
            Existing::Keep => temporary.persist_noclobber(&path),
        };
        match renamed {
            Ok(()) => Ok(Some(path)),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{} exists by now; --force overwrites it", shown(&path))
            }
            Err(error) => Err(error.error).with_context(|| format!("writing to {}", shown(&path))),
        }
    }
}
