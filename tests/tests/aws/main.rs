//! The driver for Auto Scaling groups against a real moto behind a proxy that has AWS's rules: what it reads, how it
//! grows and removes, and what it says when calls go wrong.

mod credentials;
mod faults;
mod growing;
mod heavy;
mod machines;
mod reading;
mod removing;

use std::time::Duration;

use aws_credential_types::Credentials;
use headcount_scaler::{
    AwsConfig, AwsDriver, PoolSpec, ScalerDriver as _,
    driver::{Applied, Change, DriverError, InstanceId, InstanceState, PoolRef, PoolStatus},
};
use headcount_tests::Aws;

const S: Duration = Duration::from_secs(1);
/// Only a failing test waits so long.
const SOON: Duration = Duration::from_secs(30);

/// An account, a group in it, and a driver for that group's pool, which is named `pool`.
struct Ground {
    aws: Aws,
    group: String,
    driver: AwsDriver,
}

fn pool() -> PoolRef {
    PoolRef::from("pool")
}

/// A driver that would have the pool have up to 4 workers.
async fn driver(aws: &Aws, group: &str) -> AwsDriver {
    AwsDriver::new(config(aws, group)).await
}

fn config(aws: &Aws, group: &str) -> AwsConfig {
    let spec = PoolSpec::new("pool", "queue".parse().unwrap(), 0..=4).unwrap();
    let config = AwsConfig::new(aws.region()).unwrap().endpoint(aws.endpoint()).unwrap();
    config.credentials(Credentials::new("TEST", "secret", None, None, "test")).pool(&spec, group).unwrap()
}

impl Ground {
    /// The group has these bounds and so many instances; the driver has looked at it once.
    async fn of(min: u32, max: u32, desired: u32) -> Self {
        let aws = Aws::fresh().await;
        let group = aws.group(min..=max, desired).await;
        let ground = Self { driver: driver(&aws, &group).await, aws, group };
        ground.status().await;
        ground
    }

    async fn look(&self) -> Result<PoolStatus, DriverError> {
        self.driver.status(&[pool()]).await.remove(0)
    }

    async fn status(&self) -> PoolStatus {
        self.look().await.unwrap()
    }

    async fn grow_to(&self, size: u32) -> Result<Applied, DriverError> {
        self.driver.apply(&[Change::GrowTo { pool: pool(), size }]).await.remove(0)
    }

    async fn remove(&self, instances: &[&str]) -> Result<Applied, DriverError> {
        let instances: Vec<_> = instances.iter().copied().map(InstanceId::from).collect();
        // A driver that removes those that are named has no use for the size.
        self.driver.apply(&[Change::Remove { pool: pool(), instances, size: 0 }]).await.remove(0)
    }

    async fn ids(&self) -> Vec<String> {
        self.aws.ids(&self.group).await
    }

    /// How often this was asked.
    fn asked(&self, action: &str) -> usize {
        self.aws.calls(action).len()
    }
}

/// The instances that are up, and those that end.
fn up_and_ending(status: &PoolStatus) -> (usize, usize) {
    let up = status.instances.iter().filter(|instance| instance.state == InstanceState::Up).count();
    (up, status.instances.len() - up)
}
