//! What servers need to speak to each other on loopback: names with ports, so that no DNS is asked, and a certificate
//! for `localhost` that all of them trust.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use rcgen::CertifiedKey;
use tempfile::TempDir;

use super::{Programs, free_address};

/// A certificate for `localhost` that vouches for itself. Its files go when it is dropped.
pub struct Certificate(TempDir);

impl Certificate {
    /// Makes one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(programs: &Programs) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("certificate").tempdir_in(&programs.work)?;
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let made = Self(folder);
        fs::write(made.file(), cert.pem())?;
        fs::write(made.private_key_file(), signing_key.serialize_pem())?;
        Ok(made)
    }

    /// The certificate, in PEM: what a server shows, and what the others trust.
    pub fn file(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    /// Its private key, in PEM.
    pub fn private_key_file(&self) -> PathBuf {
        self.0.path().join("private-key.pem")
    }
}

/// How a server takes part in federation.
#[derive(Clone, Copy)]
pub struct Federation<'a> {
    /// What it shows and trusts.
    pub certificate: &'a Certificate,
    /// The port of its name, `localhost:PORT`, where others connect.
    pub port: u16,
    /// Where it listens for them, with TLS: at that port, unless there is something in between.
    pub listens: SocketAddr,
}

impl<'a> Federation<'a> {
    /// With nothing in between.
    ///
    /// # Errors
    /// When no port is free.
    pub fn directly(certificate: &'a Certificate) -> Result<Self> {
        let port = free_address()?.port();
        Ok(Self { certificate, port, listens: (Ipv4Addr::LOCALHOST, port).into() })
    }

    /// The server name.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.port)
    }
}
