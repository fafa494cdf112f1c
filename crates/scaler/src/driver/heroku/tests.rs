//! The driver against a Heroku that answers as the real one does, well and badly.

mod budget;
mod errors;
mod lost;
mod removing;

use headcount_tests::{
    FakeHeroku,
    heroku::{Builder, Call, Fault},
};

use super::*;
use crate::driver::{InstanceId, InstanceState};

const SOON: Duration = Duration::from_secs(30);

fn pool() -> PoolRef {
    PoolRef::from("mail")
}

fn grow(size: u32) -> Change {
    Change::GrowTo { pool: pool(), size }
}

fn remove(numbers: impl IntoIterator<Item = u32>, size: u32) -> Change {
    let instances = numbers.into_iter().map(|n| InstanceId::from(format!("worker.{n}"))).collect();
    Change::Remove { pool: pool(), instances, size }
}

/// A shop whose dynos never come up: these tests are about what is said of them.
fn shop() -> Builder {
    FakeHeroku::app("shop")
        .process("worker", ["tail", "-f", "/dev/null"])
        .process("mediaworker", ["tail", "-f", "/dev/null"])
        .boot(SOON * 100)
}

fn config(heroku: &FakeHeroku) -> HerokuConfig {
    let token = Token::new("SHOP_TOKEN", heroku.token()).unwrap();
    let config = HerokuConfig::new("shop", token).unwrap().base_url(&heroku.url()).unwrap();
    config.pool("mail", "worker").unwrap().pool("media", "mediaworker").unwrap()
}

fn driver(heroku: &FakeHeroku) -> HerokuDriver {
    HerokuDriver::new(config(heroku)).unwrap()
}

async fn apply(driver: &HerokuDriver, change: Change) -> Result<Applied, DriverError> {
    driver.apply(&[change]).await.remove(0)
}

async fn status(driver: &HerokuDriver) -> Result<PoolStatus, DriverError> {
    driver.status(&[pool()]).await.remove(0)
}

/// Lets the readings and the spent tokens be so much older than they are.
fn wait(driver: &HerokuDriver, time: Duration) {
    driver.lock().get_older(time);
}

fn names(status: &PoolStatus) -> Vec<&str> {
    status.instances.iter().map(|instance| instance.id.as_str()).collect()
}

#[tokio::test]
async fn a_pool_is_what_heroku_lists_of_its_process_type() {
    let heroku = shop().clock(chrono::TimeDelta::hours(7)).start().await;
    heroku.scale("worker", 11);
    heroku.scale("mediaworker", 1);
    let driver = driver(&heroku);
    let asked = [pool(), PoolRef::from("media"), PoolRef::from("nobody's")];
    let [mail, media, nobodys] = driver.status(&asked).await.try_into().unwrap();
    let mail = mail.unwrap();
    assert_eq!((mail.desired, mail.instances.len()), (11, 11));
    assert_eq!(names(&mail)[8..], ["worker.9", "worker.10", "worker.11"]);
    assert_eq!(mail.instances[9].ordinal, Some(10));
    assert!(mail.instances.iter().all(|instance| instance.state == InstanceState::Up));
    assert!(mail.instances.iter().all(|instance| instance.age < SOON), "Heroku's clock is its own: {mail:?}");
    assert_eq!(mail.release.as_deref(), Some("v1"));
    assert_eq!(names(&media.unwrap()), ["mediaworker.1"]);
    assert!(matches!(nobodys, Err(DriverError::Refused(why)) if why.contains("no process type of shop")));
    assert_eq!(heroku.take_requests().len(), 2, "for all pools together");
}

#[tokio::test]
async fn changes_of_several_pools_are_one_call_with_absolute_quantities() {
    let heroku = shop().start().await;
    heroku.scale("worker", 3);
    let driver = driver(&heroku);
    let media = Change::GrowTo { pool: PoolRef::from("media"), size: 4 };
    let answers = driver.apply(&[remove([3], 2), media]).await;
    let applied = |desired| Ok(Applied { desired, changed: true });
    assert_eq!(answers, [applied(2), applied(4)]);
    assert_eq!(
        heroku.updates(),
        [serde_json::json!([
            {"type": "worker", "quantity": 2}, {"type": "mediaworker", "quantity": 4}
        ])]
    );
    assert_eq!(heroku.take_requests(), ["GET formation", "PATCH formation"]);
}

#[tokio::test]
async fn several_changes_of_one_pool_are_made_one_after_another() {
    let heroku = shop().start().await;
    let driver = driver(&heroku);
    let answers = driver.apply(&[grow(2), grow(3), remove([3], 2)]).await;
    let applied = |desired| Ok(Applied { desired, changed: true });
    assert_eq!(answers, [applied(2), applied(3), applied(2)]);
}

#[tokio::test]
async fn growing_never_lowers_what_somebody_else_has_raised() {
    let heroku = shop().start().await;
    let driver = driver(&heroku);
    assert_eq!(apply(&driver, grow(3)).await, Ok(Applied { desired: 3, changed: true }));
    assert_eq!(apply(&driver, grow(3)).await, Ok(Applied { desired: 3, changed: false }));
    heroku.scale("worker", 9);
    assert_eq!(apply(&driver, grow(4)).await, Ok(Applied { desired: 9, changed: false }));
    assert_eq!(heroku.quantity("worker"), 9);
    assert_eq!(heroku.updates().len(), 1);
}

#[tokio::test]
async fn a_process_type_at_zero_that_is_not_listed_is_grown_all_the_same() {
    let heroku = shop().hides_empty().start().await;
    let driver = driver(&heroku);
    assert_eq!(status(&driver).await.unwrap().desired, 0);
    assert_eq!(apply(&driver, grow(2)).await, Ok(Applied { desired: 2, changed: true }));
    assert_eq!(apply(&driver, remove([1, 2], 0)).await, Ok(Applied { desired: 0, changed: true }));
    assert_eq!(status(&driver).await.unwrap().desired, 0);
}

#[tokio::test]
async fn long_lists_are_read_to_their_end() {
    let heroku = shop().page(2).start().await;
    heroku.scale("worker", 5);
    let status = status(&driver(&heroku)).await.unwrap();
    assert_eq!(names(&status), ["worker.1", "worker.2", "worker.3", "worker.4", "worker.5"]);
}

#[tokio::test]
async fn a_removed_dyno_is_ending_as_long_as_heroku_lists_it() {
    let heroku = shop().boot(Duration::ZERO).lists_ending().grace(SOON);
    let heroku = heroku.process("worker", ["sh", "-c", "trap '' TERM; echo up; tail -f /dev/null"]).start().await;
    heroku.scale("worker", 2);
    heroku.printed("worker.2", "up", SOON).await;
    let driver = driver(&heroku);
    status(&driver).await.unwrap();
    apply(&driver, remove([2], 1)).await.unwrap();
    let ending = status(&driver).await.unwrap();
    assert_eq!((ending.desired, names(&ending)), (1, vec!["worker.1", "worker.2"]));
    assert_eq!(ending.instances[1].state, InstanceState::Ending);
}

#[tokio::test]
async fn in_a_release_a_name_that_is_listed_twice_is_one_instance() {
    let heroku = shop().boot(Duration::ZERO).lists_ending().grace(SOON);
    let heroku = heroku.process("worker", ["sh", "-c", "trap '' TERM; echo up; tail -f /dev/null"]).start().await;
    heroku.scale("worker", 1);
    heroku.printed("worker.1", "up", SOON).await;
    heroku.release();
    assert_eq!(heroku.dynos().len(), 2);
    let status = status(&driver(&heroku)).await.unwrap();
    assert_eq!(names(&status), ["worker.1"]);
    assert_eq!((status.instances[0].state, status.release.as_deref()), (InstanceState::Up, Some("v2")));
}

#[tokio::test]
async fn a_crashed_dyno_is_told_of_with_where_to_look() {
    let heroku = shop().boot(Duration::ZERO).process("worker", ["false"]).start().await;
    heroku.scale("worker", 1);
    heroku.until_ended(2, SOON).await;
    let status = status(&driver(&heroku)).await.unwrap();
    let [warning] = status.warnings.as_slice() else { panic!("{status:?}") };
    assert!(warning.contains("worker.1 has crashed") && warning.contains("--app shop"), "{warning}");
}

#[tokio::test]
async fn what_heroku_tells_of_itself_is_in_the_limits() {
    let heroku = shop().size("worker", "Basic").start().await;
    heroku.scale("worker", 1);
    let driver = driver(&heroku);
    assert_eq!(driver.size(&pool()), None);
    let before = driver.limits(&pool());
    assert_eq!((before.max, before.removal, before.grace), (None, Removal::Highest, Duration::from_secs(30)));
    assert_eq!((before.boot, before.min_bill), (Duration::from_secs(20), Duration::ZERO));
    status(&driver).await.unwrap();
    assert_eq!(driver.limits(&pool()).max, Some(1), "there is one basic dyno per process type");
    assert_eq!(driver.size(&pool()).unwrap().name, "basic");
    assert_eq!(driver.limits(&PoolRef::from("media")).max, None);
}

#[test]
fn a_driver_without_a_pool_is_refused() {
    let config = HerokuConfig::new("shop", Token::new("T", "t").unwrap()).unwrap();
    assert!(HerokuDriver::new(config).unwrap_err().to_string().contains("no pool is a process type of shop"));
}
