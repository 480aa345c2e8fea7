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

    is_accepted_on_a_node(&installation);
}

#[test]
fn the_configuration_of_a_base_for_kustomize_is_accepted() {
    let installation = Installation::empty();
    let secrets = ["database_password", "cluster_secret", "s3_access_key_id", "s3_secret_access_key"];
    for name in secrets {
        installation.write(name, "of 32 characters or a few more than that");
    }
    installation.write("signing.key", "ed25519 a_1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let text = fs::read_to_string(deploy().join("kubernetes/tintype.toml")).unwrap();
    let text = text.replace("/run/secrets/tintype", installation.path().to_str().unwrap());
    installation.write("tintype.toml", &text.replace("/var/lib/tintype", installation.path().to_str().unwrap()));

    is_accepted_on_a_node(&installation);
}

/// A node's own address comes from what runs it.
fn is_accepted_on_a_node(installation: &Installation) {
    let mut command = installation.command(&["config", "check", "--config", "tintype.toml"]);
    let output =
        command.env("TINTYPE__CLUSTER__ADVERTISE", "http://10.0.0.1:8091").output().expect("the program starts");

    let said = String::from_utf8(output.stderr).expect("it says it in words");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("no effect"), "{said}");
}
