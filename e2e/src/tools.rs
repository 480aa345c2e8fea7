//! Where the installed programs are. `xtask/src/tools.rs` puts them there.

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e lies in the workspace")
}

/// The Python that has Synapse.
pub fn synapse_python() -> PathBuf {
    installed("synapse/bin/python")
}

/// The Python that has matrix-nio and mautrix.
pub fn client_python() -> PathBuf {
    installed("python/bin/python")
}

/// Caddy.
pub fn caddy() -> PathBuf {
    installed("caddy/bin/caddy")
}

/// The folder with matrix-js-sdk in its `node_modules`.
pub fn client_packages() -> PathBuf {
    installed("js")
}

/// A Node new enough for matrix-js-sdk.
pub fn node() -> PathBuf {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    installed(&format!("js/node_modules/node-linux-{architecture}/bin/node"))
}

/// The program that is built on matrix-rust-sdk.
pub fn rust_client() -> PathBuf {
    installed("matrix-rust-sdk/debug/tintype-e2e-rust-client")
}

/// The built server: `TINTYPE_BIN`, or the one built into the same folder as this test.
pub fn tintype() -> PathBuf {
    let path = std::env::var_os("TINTYPE_BIN").map_or_else(beside_this_test, PathBuf::from);
    assert!(path.is_file(), "there is no {}: run `cargo build -p tintype` first, or set TINTYPE_BIN", path.display());
    path
}

// Tests are built into target/PROFILE/deps, programs into target/PROFILE.
fn beside_this_test() -> PathBuf {
    let test = std::env::current_exe().expect("a process has a program");
    let profile = test.parent().and_then(Path::parent);
    profile.expect("tests lie in target/PROFILE/deps").join("tintype")
}

fn installed(path: &str) -> PathBuf {
    let path = workspace().join("target/tools").join(path);
    assert!(path.exists(), "there is no {}: `cargo xtask test` installs it", path.display());
    path
}
