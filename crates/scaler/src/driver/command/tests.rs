//! Real programs: small shell scripts that answer, fail, hang, babble, and leave children behind.

use std::{fs, path::PathBuf, time::Instant};

use headcount_tests::eventually;
use tempfile::TempDir;

use super::*;
use crate::driver::{Instance, InstanceId, InstanceState};

const S: Duration = Duration::from_secs(1);

fn pool(name: &str) -> PoolRef {
    PoolRef::from(name)
}

fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// A driver whose programs are these shell scripts, with two seconds for each.
fn driver(status: &str, set: &str) -> CommandDriver {
    CommandDriver::new(CommandConfig::new(shell(status), shell(set), Vec::new()).timeout(2 * S))
}

async fn status(script: &str) -> Result<PoolStatus, DriverError> {
    driver(script, "exit 1").status(&[pool("here")]).await.remove(0)
}

async fn set(script: &str) -> Result<Applied, DriverError> {
    driver("exit 1", script).apply(&[Change::GrowTo { pool: pool("here"), size: 4 }]).await.remove(0)
}

#[track_caller]
fn refused(answer: &Result<PoolStatus, DriverError>, words: &[&str]) {
    let Err(DriverError::Unavailable(message)) = answer else { panic!("{answer:?}") };
    assert!(words.iter().all(|word| message.contains(word)), "{message} without {words:?}");
}

#[tokio::test]
async fn a_program_says_what_is_there_and_what_its_platform_can() {
    let driver = driver(
        r#"read question
           [ "$question" = '{"pool":"here"}' ] && [ "$HEADCOUNT_POOL" = here ] || exit 9
           echo '{"desired": 2, "release": "v1", "warnings": ["narrow"], "instances": [
             {"id": "a", "age_s": 1.5, "ordinal": 1}, {"id": "b", "age_s": 0, "state": "ending"}],
             "limits": {"removal": "chosen", "max": 7, "boot_s": 40, "min_bill_s": 60, "grace_s": 9}}'"#,
        "exit 1",
    );
    let here = pool("here");
    assert_eq!(driver.limits(&here).removal, Removal::Unknown, "nobody has said so yet");
    let status = driver.status(std::slice::from_ref(&here)).await.remove(0).unwrap();
    let instance = |id: &str, age: f64, ordinal, state| Instance {
        id: InstanceId::from(id),
        pid: None,
        ordinal,
        age: Duration::from_secs_f64(age),
        state,
    };
    assert_eq!(
        status,
        PoolStatus {
            desired: 2,
            instances: vec![
                instance("a", 1.5, Some(1), InstanceState::Up),
                instance("b", 0.0, None, InstanceState::Ending)
            ],
            release: Some("v1".into()),
            warnings: vec!["narrow".into()],
            ..PoolStatus::default()
        }
    );
    assert_eq!(
        driver.limits(&here),
        Limits {
            max: Some(7),
            min_bill: 60 * S,
            boot: 40 * S,
            overdue: 120 * S,
            removal: Removal::Chosen,
            grace: 9 * S,
            shared: true,
        }
    );
    assert_eq!(driver.limits(&pool("there")).removal, Removal::Unknown);
}

#[tokio::test]
async fn what_the_program_does_not_say_is_assumed_with_care() {
    let driver = driver(r#"echo '{"desired": 0, "instances": []}'"#, "exit 1");
    assert_eq!(driver.status(&[pool("here")]).await, [Ok(PoolStatus::default())]);
    assert_eq!(driver.limits(&pool("here")), UNKNOWN);
}

#[tokio::test]
async fn changes_are_handed_over_and_answered_in_their_order() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let script = format!(
        r#"read order; echo "$order" >> {}; case "$order" in
           *grow_to*) echo '{{"desired": 4, "changed": true}}';;
           *) echo '{{"refused": "b is protected"}}';; esac"#,
        log.display()
    );
    let driver = driver("exit 1", &script);
    let instances = vec![InstanceId::from("a"), InstanceId::from("b")];
    let answers = driver
        .apply(&[
            Change::Remove { pool: pool("here"), instances, size: 1 },
            Change::GrowTo { pool: pool("here"), size: 4 },
        ])
        .await;
    assert_eq!(
        answers,
        [Err(DriverError::Refused("b is protected".into())), Ok(Applied { desired: 4, changed: true })]
    );
    let orders = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = orders.lines().collect();
    assert_eq!(lines, [r#"{"pool":"here","remove":["a","b"],"size":1}"#, r#"{"pool":"here","grow_to":4}"#]);
}

#[tokio::test]
async fn one_pools_failure_is_its_own() {
    let script = r#"case $HEADCOUNT_POOL in bad) exit 3;; *) echo '{"desired": 1, "instances": []}';; esac"#;
    let answers = driver(script, "exit 1").status(&["a", "bad", "c"].map(pool)).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
}

#[tokio::test]
async fn a_program_that_fails_is_quoted_with_the_end_of_its_errors() {
    let babble = "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3";
    let answer = status(babble).await;
    refused(&answer, &["sh failed with exit status: 3", "line 1999"]);
    assert!(answer.unwrap_err().to_string().len() < 700);
    let missing = CommandDriver::new(CommandConfig::new(["/no/such/program"], ["/no/such/program"], Vec::new()));
    refused(&missing.status(&[pool("here")]).await.remove(0), &["/no/such/program cannot be started"]);
}

#[tokio::test]
async fn an_answer_that_is_none_is_refused_by_name() {
    for (answer, words) in [
        ("", &["wrote nothing", "JSON"][..]),
        ("Error: no cluster", &["it begins \"Error: no cluster"]),
        ("[]", &["status"]),
        (r#"{"desired": 1}"#, &["instances"]),
        (r#"{"desired": -1, "instances": []}"#, &["-1"]),
        (r#"{"desired": 1, "instances": [], "size": 1}"#, &["unknown field `size`"]),
        (r#"{"desired": 1, "instances": []} {}"#, &["trailing"]),
        (r#"{"desired": 1, "instances": [{"id": "", "age_s": 1}]}"#, &["id"]),
        (r#"{"desired": 1, "instances": [{"id": "a", "age_s": -1}]}"#, &["age_s", "-1"]),
        (r#"{"desired": 1, "instances": [{"id": "a", "age_s": 1e300}]}"#, &["age_s"]),
        (r#"{"desired": 1, "instances": [{"id": "a", "age_s": 1, "state": "odd"}]}"#, &["odd"]),
        (r#"{"desired": 2, "instances": [{"id": "a", "age_s": 1}, {"id": "a", "age_s": 1}]}"#, &["two instances", "a"]),
        (
            r#"{"desired": 1, "instances": [{"id": "a", "age_s": 1}], "limits": {"removal": "highest"}}"#,
            &["ordinal", "highest"],
        ),
    ] {
        refused(&status(&format!("cat <<'END'\n{answer}\nEND")).await, words);
    }
}

#[tokio::test]
async fn after_a_change_that_may_have_happened_one_has_to_look() {
    let unknown = |answer: &Result<Applied, DriverError>| matches!(answer, Err(DriverError::Unknown(_)));
    for script in [
        "exit 1",
        "kill -9 $$",
        "echo done",
        "true",
        r#"echo '{"desired": 4}'"#,
        r#"echo '{"desired": 4, "changed": true, "refused": "no"}'"#,
        "echo '{}'",
        "exec sleep 60",
    ] {
        let answer = set(script).await;
        assert!(unknown(&answer), "{script}: {answer:?}");
    }
    let not_done = set("echo later >&2; exit 75").await;
    assert_eq!(not_done, Err(DriverError::Unavailable("sh failed with exit status: 75: later".into())));
    let missing = CommandDriver::new(CommandConfig::new(["true"], ["/no/such/program"], Vec::new()));
    let answer = missing.apply(&[Change::GrowTo { pool: pool("here"), size: 1 }]).await.remove(0);
    assert!(matches!(answer, Err(DriverError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn too_much_is_refused_at_once() {
    let began = Instant::now();
    refused(&status("exec yes").await, &["more than 1048576 bytes"]);
    assert!(began.elapsed() < 2 * S, "it did not wait for the time limit");
}

/// A script that starts a child which notes its number in the returned file and then lives for a minute.
fn parent(folder: &TempDir, then: &str) -> (String, PathBuf) {
    let file = folder.path().join("child");
    (format!("sleep 60 & echo $! > {}; {then}", file.display()), file)
}

async fn until_gone(file: PathBuf) {
    eventually("the child is gone", 10 * S, async move || {
        let pid = fs::read_to_string(&file).unwrap_or_default();
        let lives = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
        match lives.map(rustix::process::test_kill_process) {
            Some(Err(_)) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    let folder = TempDir::new().unwrap();
    let (script, file) = parent(&folder, "echo waiting >&2; wait");
    let began = Instant::now();
    refused(&status(&script).await, &["did not end within 2s", "waiting"]);
    assert!(began.elapsed() < 6 * S, "{:?}", began.elapsed());
    until_gone(file).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it_and_holds_up_nobody() {
    let folder = TempDir::new().unwrap();
    let (script, file) = parent(&folder, r#"echo '{"desired": 0, "instances": []}'"#);
    let began = Instant::now();
    assert_eq!(status(&script).await, Ok(PoolStatus::default()));
    assert!(began.elapsed() < 2 * S, "{:?}", began.elapsed());
    until_gone(file).await;
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_ends_its_program() {
    let folder = TempDir::new().unwrap();
    let (script, file) = parent(&folder, "wait");
    let driver = CommandDriver::new(CommandConfig::new(shell(&script), shell("true"), Vec::new()).timeout(60 * S));
    let here = [pool("here")];
    let call = driver.status(&here);
    let started = eventually("the child runs", 10 * S, async || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        if text.ends_with('\n') { Ok(()) } else { Err(text) }
    });
    tokio::select! {
        answer = call => panic!("{answer:?}"),
        () = started => {}
    }
    until_gone(file.clone()).await;
}

#[tokio::test]
async fn what_is_withheld_does_not_reach_the_programs() {
    let script = r#"[ -z "$CARGO_MANIFEST_DIR" ] && [ -n "$PATH" ] && echo '{"desired": 0, "instances": []}'"#;
    assert!(status(script).await.is_err(), "the tests' environment has it");
    let config = CommandConfig::new(shell(script), shell("true"), ["CARGO_MANIFEST_DIR".into()]);
    assert_eq!(CommandDriver::new(config).status(&[pool("here")]).await, [Ok(PoolStatus::default())]);
}
