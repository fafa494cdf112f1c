//! Real processes: started, told to end, killed, crashing, outliving nobody.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use headcount_tests::eventually;
use rustix::process::test_kill_process;
use tempfile::TempDir;

use super::*;

const S: Duration = Duration::from_secs(1);
/// A worker that ends when its input does, or at TERM, as a real one.
const WORKER: &str = "trap 'exit 0' TERM; echo up; read line; read line";

fn pool() -> PoolRef {
    PoolRef::from("here")
}

fn shell(script: &str) -> LocalConfig {
    LocalConfig::new(["sh", "-c", script])
}

fn grow_to(size: u32) -> Change {
    Change::GrowTo { pool: pool(), size }
}

async fn apply(driver: &LocalDriver, change: Change) -> Result<Applied, DriverError> {
    driver.apply(&[change]).await.remove(0)
}

async fn status(driver: &LocalDriver) -> PoolStatus {
    driver.status(&[pool()]).await.remove(0).unwrap()
}

/// Looks until the status is as wished.
#[track_caller]
fn until(driver: &LocalDriver, what: &str, wish: impl Fn(&PoolStatus) -> bool) -> impl Future<Output = PoolStatus> {
    eventually(what, 30 * S, async move || {
        let status = status(driver).await;
        if wish(&status) { Ok(status) } else { Err(status) }
    })
}

#[track_caller]
fn until_file(path: &Path, wish: impl Fn(&str) -> bool) -> impl Future<Output = String> {
    eventually("the file says so", 30 * S, async move || {
        let text = fs::read_to_string(path).unwrap_or_default();
        if wish(&text) { Ok(text) } else { Err(text) }
    })
}

fn lives(pid: u32) -> bool {
    test_kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap()).is_ok()
}

/// The driver of workers that write into a log of their own.
fn logged(script: &str) -> (TempDir, PathBuf, LocalDriver) {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let driver = LocalDriver::new(shell(script).log(Log::File(log.clone())).grace(S / 5));
    (folder, log, driver)
}

#[tokio::test]
async fn growing_is_absolute_and_instances_have_names_of_their_own() {
    let driver = LocalDriver::new(shell(WORKER));
    for (size, up, changed) in [(2, 2, true), (2, 2, false), (3, 3, true), (1, 3, false)] {
        assert_eq!(apply(&driver, grow_to(size)).await, Ok(Applied { desired: up, changed }));
        let status = status(&driver).await;
        assert_eq!((status.desired, status.instances.len() as u32, status.trouble), (up, up, None));
    }
    let mut ids: Vec<_> = status(&driver).await.instances.into_iter().map(|instance| instance.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let other = driver.status(&[PoolRef::from("other")]).await.remove(0).unwrap();
    assert_eq!(other, PoolStatus::default());
}

#[tokio::test]
async fn a_removal_ends_exactly_the_one_that_is_named() {
    let (_folder, log, driver) = logged(WORKER);
    apply(&driver, grow_to(3)).await.unwrap();
    until_file(&log, |text| text.lines().count() == 3).await;
    let chosen = status(&driver).await.instances[1].clone();
    let remove = Change::Remove { pool: pool(), instances: vec![chosen.id.clone()], size: 2 };
    assert_eq!(apply(&driver, remove).await, Ok(Applied { desired: 2, changed: true }));
    let ending = status(&driver).await;
    assert_eq!(ending.desired, 2);
    let after = until(&driver, "it is gone", |status| status.instances.len() == 2).await;
    assert!(after.instances.iter().all(|instance| instance.id != chosen.id));
    assert_eq!(after.ended, [Ended { id: chosen.id, how: "exit status 0".into(), asked: true }]);
    assert_eq!(after.trouble, None, "a removal is no crash");
}

#[tokio::test]
async fn one_that_does_not_heed_term_is_killed_after_the_grace() {
    let (_folder, log, driver) = logged("trap '' TERM; echo up; while :; do read line || read line < /dev/zero; done");
    apply(&driver, grow_to(1)).await.unwrap();
    until_file(&log, |text| text.contains("up")).await;
    let id = status(&driver).await.instances[0].id.clone();
    apply(&driver, Change::Remove { pool: pool(), instances: vec![id], size: 0 }).await.unwrap();
    assert_eq!(status(&driver).await.instances[0].state, InstanceState::Ending);
    let after = until(&driver, "it is killed", |status| status.instances.is_empty()).await;
    assert_eq!((after.ended[0].how.as_str(), after.ended[0].asked), ("signal 9", true));
}

#[tokio::test]
async fn a_worker_is_told_its_names_and_its_input_stays_open() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let script = "read first; echo \"$first $HEADCOUNT_POOL $HEADCOUNT_INSTANCE $COLOUR ${PATH_LIKE-unset}\"; read more; echo end";
    let config = shell(script)
        .env("PATH_LIKE", "removed below")
        .env("COLOUR", "red")
        .stdin("secret\n")
        .log(Log::File(log.clone()))
        .env_remove("HOME");
    assert!(!format!("{config:?}").contains("secret") && !format!("{config:?}").contains("red"));
    let driver = LocalDriver::new(config);
    apply(&driver, grow_to(1)).await.unwrap();
    let id = status(&driver).await.instances[0].id.clone();
    let text = until_file(&log, |text| text.ends_with('\n')).await;
    assert_eq!(text, format!("secret here {id} red removed below\n"), "and it waits for more");
    assert_eq!(driver.shutdown(30 * S).await, 0);
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_large_input_does_not_block_the_start() {
    let driver = LocalDriver::new(shell("wc -c").stdin(vec![b'x'; 1 << 20]));
    tokio::time::timeout(30 * S, apply(&driver, grow_to(2))).await.expect("the start waits for the reader").unwrap();
}

#[tokio::test]
async fn what_a_worker_leaves_behind_ends_with_it() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("pid");
    let script = format!("sh -c 'echo $$ > {}; while :; do sleep 1; done' & wait", file.display());
    let driver = LocalDriver::new(shell(&script));
    apply(&driver, grow_to(1)).await.unwrap();
    let orphan: u32 = until_file(&file, |text| text.ends_with('\n')).await.trim().parse().unwrap();
    let worker = status(&driver).await.instances[0].pid.unwrap();
    assert!(lives(orphan));
    kill(worker, rustix::process::Signal::KILL);
    let after = until(&driver, "the worker is reaped", |status| status.instances.is_empty()).await;
    assert!(!after.ended[0].asked);
    eventually("the orphan is gone", 30 * S, async || if lives(orphan) { Err("alive") } else { Ok(()) }).await;
}

fn kill(pid: u32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn a_crash_is_told_and_the_next_start_waits() {
    let (_folder, _log, driver) = logged("echo no luck >&2; exit 3");
    apply(&driver, grow_to(2)).await.unwrap();
    let after = until(&driver, "both have ended", |status| status.ended.len() == 2).await;
    assert!(after.ended.iter().all(|ended| !ended.asked && ended.how == "exit status 3"));
    let trouble = after.trouble.unwrap();
    assert!(trouble.message.contains("exit status 3: no luck"), "{trouble}");
    assert_eq!(trouble.failures, 1, "they ended together");
    let refused = apply(&driver, grow_to(2)).await.unwrap_err();
    assert!(matches!(&refused, DriverError::Refused(why) if why.contains("no luck")), "{refused}");
    assert_eq!(status(&driver).await.instances, []);
    // Once the wait is over it is tried again.
    let retried = eventually("the next start", 30 * S, async || apply(&driver, grow_to(2)).await).await;
    assert_eq!(retried.desired, 2);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_and_not_tried_in_a_loop() {
    let driver = LocalDriver::new(LocalConfig::new(["/nowhere/headcount"]));
    let refused = apply(&driver, grow_to(3)).await.unwrap_err().to_string();
    assert!(refused.contains("cannot start /nowhere/headcount: No such file"), "{refused}");
    assert_eq!(status(&driver).await.trouble.unwrap().failures, 1);
    apply(&driver, grow_to(3)).await.unwrap_err();
    assert_eq!(status(&driver).await.trouble.unwrap().failures, 1, "asked in the wait, it does not even try");
}

#[tokio::test]
async fn a_worker_that_finds_its_environment_broken_fails_the_pool() {
    let (_folder, _log, driver) = logged("echo sha256sum: not found >&2; exit 78");
    apply(&driver, grow_to(1)).await.unwrap();
    let trouble = until(&driver, "it has ended", |status| status.ended.len() == 1).await.trouble.unwrap();
    assert!(trouble.is_lasting() && trouble.message.contains("sha256sum: not found"), "{trouble}");
    assert!(apply(&driver, grow_to(1)).await.is_err());
}

#[tokio::test]
async fn shutdown_lets_workers_finish_and_starts_no_more() {
    let (_folder, log, driver) = logged("trap 'echo bye; exit 0' TERM; echo up; read line; read line");
    apply(&driver, grow_to(3)).await.unwrap();
    until_file(&log, |text| text.lines().count() == 3).await;
    assert_eq!(driver.shutdown(30 * S).await, 0);
    assert_eq!(fs::read_to_string(&log).unwrap().matches("bye").count(), 3);
    assert!(matches!(apply(&driver, grow_to(1)).await, Err(DriverError::Refused(_))));
}

#[tokio::test]
async fn shutdown_kills_what_outlasts_the_grace() {
    let (_folder, log, driver) = logged("trap '' TERM; echo up; while :; do read line || read line < /dev/zero; done");
    apply(&driver, grow_to(2)).await.unwrap();
    until_file(&log, |text| text.lines().count() == 2).await;
    let pids: Vec<u32> = status(&driver).await.instances.iter().filter_map(|instance| instance.pid).collect();
    assert_eq!(driver.shutdown(S / 5).await, 2);
    assert!(pids.into_iter().all(|pid| !lives(pid)));
}

#[tokio::test]
async fn dropping_the_driver_kills_its_workers() {
    let (_folder, log, driver) = logged(WORKER);
    apply(&driver, grow_to(2)).await.unwrap();
    until_file(&log, |text| text.lines().count() == 2).await;
    let pids: Vec<u32> = status(&driver).await.instances.iter().filter_map(|instance| instance.pid).collect();
    drop(driver);
    assert!(pids.into_iter().all(|pid| !lives(pid)));
}

const SUPERVISED: &str = "HEADCOUNT_TEST_SUPERVISED_LOG";

#[tokio::test]
#[ignore = "the next test starts it as a process of its own"]
async fn as_a_supervisor() {
    #[expect(clippy::disallowed_methods, reason = "how the next test speaks to this one, in another process")]
    let log = std::env::var_os(SUPERVISED).expect("the next test names it");
    let driver = LocalDriver::new(
        shell("trap '' TERM; echo up; while read line; do :; done; echo end of input").log(Log::File(log.into())),
    );
    apply(&driver, grow_to(2)).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn workers_end_when_their_supervisor_is_killed() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let mut supervisor = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "driver::local::tests::as_a_supervisor", "--ignored"])
        .env(SUPERVISED, &log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until_file(&log, |text| text.matches("up").count() == 2).await;
    assert!(!fs::read_to_string(&log).unwrap().contains("end"));
    supervisor.kill().await.unwrap();
    until_file(&log, |text| text.matches("end of input").count() == 2).await;
}
