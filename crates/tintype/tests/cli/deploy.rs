//! What is in `deploy/` is what this program understands.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::installation::Installation;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

#[test]
fn the_configuration_of_the_containers_and_its_secrets_are_accepted() {
    let installation = Installation::empty();
    let folder = installation.path().join("compose");
    fs::create_dir(&folder).unwrap();
    let script = folder.join("secrets.sh");
    fs::copy(deploy().join("compose/secrets.sh"), &script).unwrap();
    assert!(Command::new("sh").arg(&script).status().unwrap().success());
    let made = |name: &str| fs::read(folder.join("secrets").join(name)).unwrap();
    let first = made("database_password");
    assert!(Command::new("sh").arg(&script).status().unwrap().success());
    assert_eq!(made("database_password"), first, "what is there stays");
    let text = fs::read_to_string(deploy().join("compose/tintype.toml")).unwrap();
    let text = text.replace("/run/secrets", folder.join("secrets").to_str().unwrap());
    installation.write("tintype.toml", &text.replace("/var/lib/tintype", folder.to_str().unwrap()));

    let ran = installation.run(&["config", "check", "--config", "tintype.toml"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stderr.contains("no effect"), "{ran:?}");
}
