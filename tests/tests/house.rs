//! The rules of the house that no compiler checks: where SQL may stand, who may know whom, what a file begins with.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

/// The files below this folder whose names end so, by their paths from the root.
fn files(below: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The lines of this code that are no comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The lines of code with SQL in them.
fn sql(name: &str, text: &str) -> Vec<String> {
    let marks = ["sqlx::query", "QueryBuilder", "SELECT ", "INSERT INTO ", "DELETE FROM ", ".sql\""];
    let has = |line: &str| marks.iter().any(|mark| line.contains(mark));
    code(text).filter(|(_, line)| has(line)).map(|(at, line)| format!("{name}:{at}: {}", line.trim())).collect()
}

#[test]
fn sql_stands_only_in_the_stores() {
    let test = files("tests/src/postgres", "template.rs").remove(0);
    assert!(sql(&test.0, &test.1).len() > 2, "there is SQL, and this test is blind to it");
    let elsewhere: Vec<String> = files("crates", ".rs")
        .into_iter()
        // What a crate's tests ask a database behind the product's back is their own.
        .filter(|(name, _)| !name.starts_with("crates/queue/src/store/") && !name.contains("/tests"))
        // What a store is measured against is SQL that knows no store.
        .filter(|(name, _)| name != "crates/bench/src/floor.rs")
        .flat_map(|(name, text)| sql(&name, &text))
        .collect();
    assert_eq!(elsewhere, [""; 0]);
}

#[test]
fn a_statement_begins_by_saying_what_it_is_for() {
    let stores = ["postgres", "sqlite"].map(|store| format!("crates/queue/src/store/{store}"));
    for store in stores.into_iter().chain(["crates/bench/src/floor".to_owned()]) {
        let statements = files(&store, ".sql");
        assert!(!statements.is_empty(), "the statements of {store} have moved: say here where they are");
        for (name, text) in statements {
            assert!(text.starts_with("-- "), "{name} has no header: purpose, parameters, rows, locks, index");
        }
    }
}

#[test]
fn crates_know_each_other_one_way_only() {
    let known = [
        ("queue", &[][..]),
        ("worker", &["queue"]),
        ("scaler", &["queue"]),
        ("headcount", &["queue", "worker"]),
        ("bench", &["queue", "worker"]),
        ("cli", &["bench", "queue", "scaler", "worker"]),
    ];
    let manifests = files("crates", "Cargo.toml");
    assert_eq!(manifests.len(), known.len(), "a crate was added: say here whom it may know");
    for (name, text) in manifests {
        let manifest = name.strip_prefix("crates/").and_then(|name| name.strip_suffix("/Cargo.toml")).unwrap();
        let (_, may_know) = known.iter().find(|(known, _)| *known == manifest).expect(&name);
        // What the tests of a crate use is not compiled into it.
        let sections = text.split("\n[").filter(|section| section.starts_with("dependencies]"));
        let found: Vec<&str> = sections
            .flat_map(str::lines)
            .filter_map(|line| line.strip_prefix("headcount-")?.split(['.', ' ']).next())
            .collect();
        assert_eq!(found, *may_know, "{name}");
    }
}

#[test]
fn only_a_driver_calls_a_platform_and_a_worker_its_own_machine() {
    let speaks = |line: &str| {
        ["client::conn", "aws_sdk_", "TcpStream::connect", "reqwest::"].iter().any(|mark| line.contains(mark))
    };
    let callers: Vec<String> = files("crates", ".rs")
        .into_iter()
        .filter(|(name, text)| !name.contains("/tests") && code(text).any(|(_, line)| speaks(line)))
        .map(|(name, _)| name)
        .collect();
    // The metadata service of an EC2 instance is a part of that machine: it knows no other, and needs no permissions.
    let own_machine = |name: &&String| *name == "crates/worker/src/ec2.rs";
    assert_eq!(callers.iter().filter(own_machine).count(), 1, "it has moved: say here where it is");
    // The one HTTP client, which the drivers share with the webhook: that is the user's own address.
    let client = |name: &&String| *name == "crates/scaler/src/http.rs";
    let driver = |name: &&String| name.starts_with("crates/scaler/src/driver/");
    let elsewhere: Vec<_> =
        callers.iter().filter(|name| !driver(name) && !own_machine(name) && !client(name)).collect();
    assert_eq!(elsewhere, [""; 0]);
    let (sources, webhook) = (files("crates/scaler/src", ".rs"), "crates/scaler/src/webhook.rs");
    let uses = |text: &str| code(text).any(|(_, line)| line.contains("http::") && !line.contains("hyper"));
    let others =
        sources.iter().filter(|(name, text)| uses(text) && !driver(&name) && !client(&name) && name != webhook);
    assert_eq!(others.map(|(name, _)| name).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn what_is_pure_takes_the_time_as_an_argument_and_does_no_io() {
    let impure = ["tokio", "async fn", "Instant::now", "Utc::now", "SystemTime", "std::fs", "std::net", "std::env"];
    let pure = |name: &str| {
        matches!(name, "crates/queue/src/state.rs" | "crates/queue/src/retry.rs")
            || name.starts_with("crates/scaler/src/decide")
    };
    let mut seen = 0;
    for (name, text) in files("crates", ".rs").iter().filter(|(name, _)| pure(name)) {
        seen += 1;
        for (at, line) in code(text) {
            assert!(!impure.iter().any(|word| line.contains(word)), "{name}:{at}: {}", line.trim());
        }
    }
    assert!(seen >= 2, "the pure modules have moved: say here where they are");
}

#[test]
fn every_crate_has_the_licence_and_the_lints() {
    for (name, text) in files("crates", "Cargo.toml").into_iter().chain(files("tests", "Cargo.toml")) {
        assert!(text.contains("\nlicense.workspace = true\n"), "{name}");
        assert!(text.contains("\n[lints]\nworkspace = true\n"), "{name}");
    }
}

#[test]
fn every_link_in_the_texts_leads_somewhere() {
    let mut links = 0;
    for text in ["README.md", "crates/README.md", "crates/CHANGELOG.md"] {
        let path = root().join(text);
        let words = fs::read_to_string(&path).unwrap();
        for target in words.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("https://") || target.starts_with('#') {
                continue;
            }
            let file = target.split('#').next().unwrap();
            assert!(path.parent().unwrap().join(file).exists(), "{text}: {target}");
            links += 1;
        }
    }
    assert!(links > 0);
}
