//! A certificate authority of one test, and certificates by it for `localhost`.
//!
//! Servers find each other by names such as `localhost:20001`, so that no DNS is needed: a name with a port says where
//! to connect, and its certificate is one for the host alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::folder::Folder;

const AUTHORITY: &str = "authority.pem";
const CHAIN: &str = "chain.pem";
const PRIVATE_KEY: &str = "private-key.pem";

/// An authority, and one certificate for `localhost` and 127.0.0.1 that it has issued. Its files go when it is dropped.
#[derive(Debug)]
pub struct Authority(Folder);

impl Authority {
    /// Makes both anew.
    pub fn new() -> Self {
        let folder = Folder::new("authority");
        let authority = authority();
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = leaf().signed_by(&key, &authority).expect("the authority can sign");
        for (name, content) in
            [(AUTHORITY, authority.pem()), (CHAIN, certificate.pem()), (PRIVATE_KEY, key.serialize_pem())]
        {
            fs::write(folder.path().join(name), content).expect("a file can be written");
        }
        Self(folder)
    }

    /// The authority's own certificate, in PEM, for those who are to trust it.
    pub fn certificate_file(&self) -> PathBuf {
        self.file(AUTHORITY)
    }

    /// The certificate chain of a server, in PEM.
    pub fn chain_file(&self) -> PathBuf {
        self.file(CHAIN)
    }

    /// The private key that belongs to the chain, in PEM.
    pub fn private_key_file(&self) -> PathBuf {
        self.file(PRIVATE_KEY)
    }

    fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "Authority of the suites");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("keys can be made");
    CertifiedIssuer::self_signed(parameters, key).expect("an authority can sign itself")
}

fn leaf() -> CertificateParams {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let mut parameters = CertificateParams::new(names).expect("the names are valid");
    parameters.distinguished_name.push(DnType::CommonName, "localhost");
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters
}
