//! `tintype config check|default|schema` and `tintype migrate`

use crate::installation::{Installation, Ran};

#[test]
fn every_error_is_printed_with_its_key_and_line() {
    let installation = Installation::empty();
    installation.write(
        "broken.toml",
        "[limits]\nmax_upload_size = \"100M\"\nmax_uplaod_size = 1\n[[server]]\nname = \"not a name\"\n",
    );

    let ran = installation.run(&["config", "check", "--config", "broken.toml"]);

    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    for error in [
        "broken.toml:2: limits.max_upload_size: ",
        "broken.toml:3: limits.max_uplaod_size: unknown key; did you mean max_upload_size?",
        "broken.toml:5: server[0].name: ",
    ] {
        assert!(ran.stderr.contains(error), "{error} is missing in {}", ran.stderr);
    }
}

#[test]
fn an_error_in_the_environment_names_the_variable() {
    let installation = Installation::empty();

    let ran = installation.command(&["config", "check"]).env("TINTYPE__LIMITS__MAX_UPLOAD_SIZE", "lots").output();

    let ran = Ran::from(ran.unwrap());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("TINTYPE__LIMITS__MAX_UPLOAD_SIZE"), "{}", ran.stderr);
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let ran = Installation::empty().run(&["config", "check", "--config", "missing.toml"]);

    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("missing.toml"), "{}", ran.stderr);
}

#[test]
fn the_file_in_the_folder_is_checked_without_being_named() {
    let installation = Installation::empty();
    installation.write("tintype.toml", "nonsense = 1");

    assert_eq!(installation.run(&["config", "check"]).code, Some(1));
}

#[test]
fn without_a_file_the_standalone_profile_is_fine() {
    assert_eq!(Installation::empty().run(&["config", "check"]).code, Some(0));
}

#[test]
fn the_default_file_has_no_errors() {
    let installation = Installation::empty();
    let default = installation.run(&["config", "default"]);
    assert_eq!((default.code, default.stderr.as_str()), (Some(0), ""));

    installation.write("default.toml", &default.stdout);
    let checked = installation.run(&["config", "check", "--config", "default.toml"]);

    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{checked:?}");
}

#[test]
fn the_schema_is_a_json_schema() {
    let ran = Installation::empty().run(&["config", "schema"]);

    assert_eq!(ran.code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(schema["$schema"].is_string());
    assert!(schema["properties"]["limits"].is_object());
}

#[test]
fn the_database_can_be_brought_up_to_date_by_itself() {
    let installation = Installation::empty();

    assert_eq!(installation.run(&["migrate"]).code, Some(0));
    assert!(installation.path().join("tintype-data/tintype.db").exists());
    assert_eq!(installation.run(&["migrate"]).code, Some(0));
}

#[test]
fn an_unknown_command_is_a_mistake() {
    assert_eq!(Installation::empty().run(&["dance"]).code, Some(2));
}
