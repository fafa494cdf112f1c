//! What a look at a group shows.

use headcount_scaler::driver::{Limits, Removal};
use headcount_tests::{eventually, moto::Boot};

use super::*;

#[tokio::test]
async fn what_is_pending_or_in_service_is_up() {
    let ground = Ground::of(0, 4, 1).await;
    ground.aws.boots(Boot::Held);
    assert_eq!(ground.grow_to(3).await, Ok(Applied { desired: 3, changed: true }));
    let listed: Vec<String> = ground.aws.look(&ground.group).await.1.into_iter().map(|(_, state)| state).collect();
    assert_eq!(listed.iter().filter(|state| *state == "Pending").count(), 2, "{listed:?}");
    let status = ground.status().await;
    assert_eq!((status.desired, up_and_ending(&status)), (3, (3, 0)));
    assert!(status.age < 9 * S && status.release.is_none() && status.ended.is_empty());
}

#[tokio::test]
async fn one_call_shows_all_groups_of_the_account() {
    let aws = Aws::fresh().await;
    let groups = [aws.group(0..=4, 1).await, aws.group(0..=4, 2).await];
    let other = PoolSpec::new("other", "other".parse().unwrap(), 0..=4).unwrap();
    let driver = AwsDriver::new(config(&aws, &groups[0]).pool(&other, &groups[1]).unwrap()).await;
    let pools = [PoolRef::from("other"), pool(), PoolRef::from("unknown")];
    let statuses = driver.status(&pools).await;
    let desired: Vec<_> = statuses.iter().map(|status| status.as_ref().ok().map(|status| status.desired)).collect();
    assert_eq!(desired, [Some(2), Some(1), None]);
    let calls = aws.calls("DescribeAutoScalingGroups");
    assert_eq!(calls.len(), 1);
    assert_eq!([1, 2].map(|n| calls[0].get(&format!("AutoScalingGroupNames.member.{n}"))), [&groups[1], &groups[0]]);
    let Err(DriverError::Refused(why)) = &statuses[2] else { panic!("{:?}", statuses[2]) };
    assert!(why.contains("unknown"), "{why}");
}

#[tokio::test]
async fn many_groups_are_read_page_by_page() {
    let aws = Aws::fresh().await;
    let first = aws.group(0..=4, 0).await;
    let (mut config, mut pools) = (config(&aws, &first), vec![pool()]);
    // One more than a call takes names.
    for at in 0..50 {
        let spec = PoolSpec::new(&format!("pool{at}"), format!("queue{at}").parse().unwrap(), 0..=4).unwrap();
        config = config.pool(&spec, &aws.group(0..=4, at % 2).await).unwrap();
        pools.push(spec.name().clone());
    }
    let driver = AwsDriver::new(config).await;
    aws.pages(20);
    let statuses = driver.status(&pools).await;
    let desired: u32 = statuses.into_iter().map(|status| status.unwrap().desired).sum();
    assert_eq!(desired, 25);
    assert_eq!(aws.calls("DescribeAutoScalingGroups").len(), 3 + 1);
}

#[tokio::test]
async fn a_group_that_is_not_there_is_named_with_its_region() {
    let aws = Aws::fresh().await;
    let driver = driver(&aws, "nowhere-to-be-found").await;
    let Err(DriverError::Refused(why)) = driver.status(&[pool()]).await.remove(0) else { panic!("it is not there") };
    assert!(why.contains("nowhere-to-be-found") && why.contains(aws.region()), "{why}");
}

#[tokio::test]
async fn what_waits_in_a_termination_hook_is_ending_and_not_desired() {
    let ground = Ground::of(0, 4, 2).await;
    ground.aws.hook(&ground.group, "finish", 600 * S).await;
    let id = ground.ids().await.remove(0);
    let parameters = [("InstanceId", &*id), ("ShouldDecrementDesiredCapacity", "true")];
    ground.aws.call("TerminateInstanceInAutoScalingGroup", &parameters).await;
    let status = ground.status().await;
    assert_eq!((status.desired, up_and_ending(&status)), (1, (1, 1)));
    let ending = status.instances.iter().find(|instance| instance.state == InstanceState::Held).unwrap();
    assert_eq!(ending.id.as_str(), id);
}

#[tokio::test]
async fn one_set_aside_is_neither_counted_nor_listed_and_one_that_is_sick_is_ending() {
    let ground = Ground::of(0, 4, 3).await;
    let ids = ground.ids().await;
    let standby = [
        ("AutoScalingGroupName", &*ground.group),
        ("InstanceIds.member.1", &*ids[0]),
        ("ShouldDecrementDesiredCapacity", "true"),
    ];
    ground.aws.call("EnterStandby", &standby).await;
    ground.aws.call("SetInstanceHealth", &[("InstanceId", &*ids[1]), ("HealthStatus", "Unhealthy")]).await;
    let status = ground.status().await;
    assert_eq!((status.desired, up_and_ending(&status)), (2, (1, 1)));
    assert!(status.instances.iter().all(|instance| instance.id.as_str() != ids[0]), "{status:?}");
    assert!(status.warnings.iter().any(|warning| warning.contains(&ids[0]) && warning.contains("Standby")));
}

#[tokio::test]
async fn the_limits_are_those_of_the_group_as_last_read() {
    let aws = Aws::fresh().await;
    let group = aws.group(1..=3, 1).await;
    let driver = driver(&aws, &group).await;
    let known = Limits {
        max: None,
        min_bill: 60 * S,
        boot: 90 * S,
        overdue: 270 * S,
        removal: Removal::Chosen,
        grace: 120 * S,
        shared: true,
    };
    assert_eq!(driver.limits(&pool()), known, "nothing was read");
    aws.hook(&group, "finish", 300 * S).await;
    driver.status(&[pool()]).await.remove(0).unwrap();
    assert_eq!(driver.limits(&pool()), Limits { max: Some(3), grace: 300 * S, ..known });
}

#[tokio::test]
async fn what_hurts_later_is_warned_of_now() {
    let ground = Ground::of(1, 3, 1).await;
    let warned = |status: &PoolStatus, words: &[&str]| {
        let found = status.warnings.iter().any(|warning| words.iter().all(|word| warning.contains(word)));
        assert!(found, "{words:?}: {:?}", status.warnings);
    };
    let status = ground.status().await;
    warned(&status, &["at most 3", "may want 4", "MaxSize"]);
    warned(&status, &["at least 1", "down to 0", "MinSize"]);
    warned(&status, &["AZRebalance", "suspend-processes", &ground.group]);
    warned(&status, &["no termination hook"]);
    assert_eq!(status.warnings, ground.status().await.warnings, "in the same words, so that each is told once");

    let calm = Ground::of(0, 4, 1).await;
    calm.aws.suspend(&calm.group, "AZRebalance").await;
    calm.aws.hook(&calm.group, "finish", 120 * S).await;
    // A new driver, since hooks are read every few minutes only.
    let status = driver(&calm.aws, &calm.group).await.status(&[pool()]).await.remove(0).unwrap();
    assert_eq!(status.warnings, [""; 0]);

    calm.aws.suspend(&calm.group, "Terminate").await;
    warned(&calm.status().await, &["Terminate", "suspended"]);
}

#[tokio::test]
async fn a_group_that_may_not_launch_is_in_lasting_trouble() {
    let ground = Ground::of(0, 4, 1).await;
    ground.aws.suspend(&ground.group, "Launch").await;
    let trouble = ground.status().await.trouble.expect("Launch is suspended");
    assert!(trouble.is_lasting() && trouble.message.contains("resume-processes"), "{trouble:?}");
    ground.grow_to(3).await.unwrap();
    let status = ground.status().await;
    assert_eq!((status.desired, status.instances.len()), (3, 1));
}

#[tokio::test]
async fn launches_that_fail_are_told_in_the_words_of_the_platform() {
    let aws = Aws::fresh().await;
    let group = aws.group(0..=4, 1).await;
    let driver = AwsDriver::new(config(&aws, &group).boot(S / 5)).await;
    let ground = Ground { aws, group, driver };
    ground.status().await;
    let why = "We currently do not have sufficient t3.small capacity";
    ground.aws.launches_fail(&ground.group, Some(why)).await;
    ground.grow_to(3).await.unwrap();
    let status = ground.status().await;
    assert_eq!((status.desired, status.instances.len(), status.trouble), (3, 1, None), "it may be booting");
    assert_eq!(ground.asked("DescribeScalingActivities"), 0);
    let trouble = eventually("the trouble shows", SOON, async || match ground.status().await.trouble {
        Some(trouble) if trouble.message.contains(why) => Ok(trouble),
        other => Err(other),
    })
    .await;
    assert_eq!((trouble.failures, trouble.retry_in), (2, Some(Duration::ZERO)), "AWS tries again by itself");
    ground.aws.launches_fail(&ground.group, None).await;
    let status = ground.status().await;
    assert_eq!((up_and_ending(&status), status.trouble), ((3, 0), None));
}

#[tokio::test]
async fn units_are_counted_as_instances() {
    let aws = Aws::fresh().await;
    let group = aws.weighted_group(0..=12, 4, &[2]).await;
    let driver = driver(&aws, &group).await;
    let ground = Ground { aws, group, driver };
    let status = ground.status().await;
    assert_eq!((status.desired, up_and_ending(&status)), (2, (2, 0)));
    assert_eq!(ground.driver.limits(&pool()).max, Some(6));
    assert_eq!(ground.grow_to(4).await, Ok(Applied { desired: 4, changed: true }));
    assert_eq!(ground.aws.calls("SetDesiredCapacity")[0].get("DesiredCapacity"), "8");
    assert_eq!(up_and_ending(&ground.status().await), (4, 0));
}

#[tokio::test]
async fn a_group_of_several_weights_is_looked_at_and_not_grown() {
    let aws = Aws::fresh().await;
    let group = aws.weighted_group(0..=12, 4, &[2, 4]).await;
    let driver = driver(&aws, &group).await;
    let ground = Ground { aws, group, driver };
    let status = ground.status().await;
    assert_eq!((status.desired, up_and_ending(&status)), (2, (2, 0)));
    assert!(status.trouble.is_some_and(|trouble| trouble.is_lasting() && trouble.message.contains("weights")));
    let Err(DriverError::Refused(why)) = ground.grow_to(3).await else { panic!("nobody knows how many that are") };
    assert!(why.contains("same weight"), "{why}");
    assert_eq!(ground.asked("SetDesiredCapacity"), 0);
}
