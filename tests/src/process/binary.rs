//! Where the `headcount` program is.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The program under test.
///
/// `HEADCOUNT_TEST_BINARY` names it; `tests/run` sets it to what it has just built. Without it, as when someone calls
/// `cargo test`, the program is built first, in the profile of the tests: cargo builds a package's program only for
/// that package's own tests, so one that merely lay there could be of last week.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting; crates/cli/src/env.rs has the product's")]
pub fn headcount() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("HEADCOUNT_TEST_BINARY").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    // This test is target/PROFILE/deps/NAME.
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().nth(2).expect("tests lie two folders deep");
    let (target, profile) = (folder.parent(), folder.file_name());
    let (Some(target), Some(profile)) = (target, profile.and_then(|name| name.to_str())) else {
        panic!("{} is not where cargo puts a test", test.display())
    };
    let profile = if profile == "debug" { "dev" } else { profile };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "headcount-cli", "--bin", "headcount", "--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(matches!(built, Ok(status) if status.success()), "the headcount program does not build: {built:?}");
    folder.join("headcount")
}
