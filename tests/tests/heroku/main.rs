//! The Heroku driver with real processes: what is asked of it, and what becomes of the processes.

mod releases;
mod shrinking;

use std::time::Duration;

use headcount_scaler::{
    HerokuConfig, HerokuDriver, ScalerDriver, Token,
    driver::{Applied, Change, DriverError, InstanceId, InstanceState, PoolRef, PoolStatus},
};
use headcount_tests::{
    FakeHeroku,
    heroku::{Builder, Call, Fault, How, State},
};

const SOON: Duration = Duration::from_secs(30);
/// Ends at TERM, as a worker without a job.
const IDLE: &str = "trap 'exit 0' TERM; echo up; tail -f /dev/null & wait";
/// Ends at TERM once its job is done: never.
const BUSY: &str = "trap '' TERM; echo up; tail -f /dev/null";

fn shop(script: &str) -> Builder {
    FakeHeroku::app("shop").process("worker", ["sh", "-c", script]).grace(Duration::from_millis(300))
}

fn driver(heroku: &FakeHeroku) -> HerokuDriver {
    let token = Token::new("HEROKU_API_KEY", heroku.token()).unwrap();
    let config = HerokuConfig::new("shop", token).unwrap().base_url(&heroku.url()).unwrap();
    // Every look is a reading: between looks there is a dyno that moves, and none of them is a minute.
    HerokuDriver::new(config.read_every(Duration::ZERO).pool("mail", "worker").unwrap()).unwrap()
}

fn pool() -> PoolRef {
    PoolRef::from("mail")
}

fn grow(size: u32) -> Change {
    Change::GrowTo { pool: pool(), size }
}

fn remove(names: &[&str], size: u32) -> Change {
    Change::Remove { pool: pool(), instances: names.iter().map(|name| InstanceId::from(*name)).collect(), size }
}

async fn apply(driver: &HerokuDriver, change: Change) -> Result<Applied, DriverError> {
    driver.apply(&[change]).await.remove(0)
}

async fn status(driver: &HerokuDriver) -> PoolStatus {
    driver.status(&[pool()]).await.remove(0).unwrap()
}

fn names(status: &PoolStatus) -> Vec<&str> {
    status.instances.iter().map(|instance| instance.id.as_str()).collect()
}

/// Waits until so many dynos are there, none ending and all up.
async fn up(heroku: &FakeHeroku, count: usize) {
    let is_up = |dyno: &headcount_tests::heroku::ListedDyno| dyno.state == State::Up && dyno.printed.contains("up");
    heroku.until("all are up", SOON, |dynos| dynos.len() == count && dynos.iter().all(is_up)).await;
}
