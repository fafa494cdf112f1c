//! In whose name the driver speaks.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::SystemTime,
};

use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use headcount_tests::{Folder, Program};

use super::*;

const ENDPOINT: &str = "TEST_AWS_GROUP";

/// Has credentials for so many calls, each set already expired, so that every call asks for new ones.
#[derive(Debug)]
struct Purse(AtomicU32);

impl ProvideCredentials for Purse {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let credentials = Credentials::new("TEST", "secret", None, Some(SystemTime::UNIX_EPOCH), "test");
        let bare = |_| CredentialsError::not_loaded("the cupboard is bare");
        future::ProvideCredentials::ready(left.map(|_| credentials).map_err(bare))
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_the_reason_is_told() {
    let ground = Ground::of(0, 4, 1).await;
    // For the group and for its hooks.
    let driver = AwsDriver::new(config(&ground.aws, &ground.group).credentials(Purse(2.into()))).await;
    let status = driver.status(&[pool()]).await.remove(0).unwrap();
    let instances: Vec<InstanceId> = status.instances.into_iter().map(|instance| instance.id).collect();
    let changes = [Change::GrowTo { pool: pool(), size: 2 }, Change::Remove { pool: pool(), instances, size: 0 }];
    for change in changes {
        let error = driver.apply(&[change]).await.remove(0).unwrap_err();
        assert!(matches!(&error, DriverError::Unavailable(why) if why.contains("cupboard")), "{error:?}");
    }
    let error = driver.status(&[pool()]).await.remove(0).unwrap_err();
    assert!(matches!(&error, DriverError::Unavailable(why) if why.contains("cupboard")), "{error:?}");
    assert_eq!(ground.ids().await.len(), 1);
}

#[tokio::test]
async fn a_role_is_assumed_with_the_credentials_that_are_found() {
    let ground = Ground::of(0, 4, 2).await;
    let role = "arn:aws:iam::123456789012:role/scaler";
    let driver = AwsDriver::new(config(&ground.aws, &ground.group).role_arn(role).unwrap()).await;
    assert_eq!(driver.status(&[pool()]).await.remove(0).unwrap().desired, 2);
    let assumed = ground.aws.calls("AssumeRole");
    assert_eq!(assumed.iter().map(|call| call.get("RoleArn")).collect::<Vec<_>>(), [role]);
    assert!(!format!("{driver:?} {driver}").contains("secret"), "{driver:?}");
}

/// This test's own program again, as a process that has this environment.
fn again(folder: &Folder, ground: &Ground) -> Program {
    let this = std::env::current_exe().unwrap();
    let test = "credentials::a_driver_that_knows_its_environment_only";
    folder
        .program(this, ["--ignored", "--exact", test, "--nocapture"])
        .env(ENDPOINT, &ground.group)
        .env("AWS_ENDPOINT_URL", ground.aws.endpoint())
        .env("AWS_EC2_METADATA_DISABLED", "true")
}

#[tokio::test]
async fn the_default_chain_finds_the_environment_and_the_profile() {
    let (ground, folder) = (Ground::of(0, 4, 3).await, Folder::new());
    let keys = |program: Program| program.env("AWS_ACCESS_KEY_ID", "TEST").env("AWS_SECRET_ACCESS_KEY", "hidden");
    let ended = keys(again(&folder, &ground)).start().ends_well(SOON).await;
    assert!(ended.stdout().contains("desired: 3") && !ended.stdout().contains("hidden"), "{ended}");
    std::fs::create_dir(folder.file(".aws")).unwrap();
    let profile = "[other]\naws_access_key_id = TEST\naws_secret_access_key = hidden\n";
    std::fs::write(folder.file(".aws/credentials"), profile).unwrap();
    let ended = again(&folder, &ground).env("AWS_PROFILE", "other").start().ends_well(SOON).await;
    assert!(ended.stdout().contains("desired: 3") && !ended.stdout().contains("hidden"), "{ended}");
    let ended = again(&folder, &ground).start().ends_well(SOON).await;
    assert!(ended.stdout().contains("does not answer") && ended.stdout().contains("credential"), "{ended}");
}

/// The other process of the test above.
#[tokio::test]
#[ignore = "is started by another test"]
async fn a_driver_that_knows_its_environment_only() {
    #[expect(clippy::disallowed_methods, reason = "how a test speaks to its own child")]
    let Ok(group) = std::env::var(ENDPOINT) else { return };
    let spec = PoolSpec::new("pool", "queue".parse().unwrap(), 0..=4).unwrap();
    let driver = AwsDriver::new(AwsConfig::new("eu-west-1").unwrap().pool(&spec, &group).unwrap()).await;
    match driver.status(&[pool()]).await.remove(0) {
        Ok(status) => println!("desired: {} by {driver:?}", status.desired),
        Err(error) => println!("{error}"),
    }
}
