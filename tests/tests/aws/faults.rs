//! Calls that go wrong: what is asked again, what is told, and within which time.

use std::time::Instant;

use headcount_tests::moto::Fault;

use super::*;

/// What is said of a call that certainly did not happen, and of one that may have.
fn verdict<T: std::fmt::Debug>(answer: Result<T, DriverError>) -> (&'static str, String) {
    match answer {
        Ok(_) => ("ok", String::new()),
        Err(DriverError::Unavailable(why)) => ("unavailable", why),
        Err(DriverError::Refused(why)) => ("refused", why),
        Err(DriverError::Unknown(why)) => ("unknown", why),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn calls_that_are_turned_away_are_made_again() {
    let ground = Ground::of(0, 4, 1).await;
    ground.aws.faults("DescribeAutoScalingGroups", [Fault::THROTTLED, Fault::CONTENTION]);
    ground.status().await;
    ground.aws.faults("SetDesiredCapacity", [Fault::THROTTLED, Fault::CONTENTION]);
    assert_eq!(ground.grow_to(2).await, Ok(Applied { desired: 2, changed: true }));
    assert_eq!(ground.asked("SetDesiredCapacity"), 3);
    let id = ground.ids().await.remove(0);
    ground.status().await;
    ground.aws.faults("TerminateInstanceInAutoScalingGroup", [Fault::CONTENTION, Fault::THROTTLED]);
    assert_eq!(ground.remove(&[&id]).await, Ok(Applied { desired: 1, changed: true }));
    assert_eq!(ground.ids().await.len(), 1);
}

#[tokio::test]
async fn what_is_turned_away_for_long_did_not_happen() {
    let ground = Ground::of(0, 4, 1).await;
    ground.aws.faults("SetDesiredCapacity", std::iter::repeat_n(Fault::THROTTLED, 100));
    let started = Instant::now();
    let (verdict, why) = verdict(ground.grow_to(2).await);
    assert!(verdict == "unavailable" && why.contains("Rate exceeded"), "{verdict}: {why}");
    assert!(started.elapsed() < 3 * 5 * S, "{:?}", started.elapsed());
    assert!(ground.asked("SetDesiredCapacity") < 30, "the pauses grow");
    assert_eq!(ground.ids().await.len(), 1);
}

#[tokio::test]
async fn a_change_that_failed_is_told_by_what_is_known_of_it() {
    for (fault, said, word, happened) in [
        (Fault::IN_PROGRESS, "refused", "next tick", false),
        (Fault::DENIED, "refused", "allow the action", false),
        (Fault::Code(400, "ExpiredToken", "The security token is expired"), "refused", "credentials", false),
        (Fault::Code(400, "SomethingNew", "Because"), "refused", "Because", false),
        (Fault::Failed, "unknown", "HTTP 500", false),
        (Fault::Code(503, "ServiceUnavailable", "Later"), "unknown", "Later", false),
        (Fault::DoneThenFailed, "unknown", "InternalFailure", true),
        (Fault::Reset, "unknown", "", false),
        (Fault::DoneThenReset, "unknown", "", true),
    ] {
        let ground = Ground::of(0, 4, 1).await;
        ground.aws.faults("SetDesiredCapacity", [fault.clone()]);
        let (verdict, why) = verdict(ground.grow_to(2).await);
        assert!(verdict == said && why.contains(word), "{fault:?}: {verdict}: {why}");
        assert_eq!(ground.asked("SetDesiredCapacity"), 1, "{fault:?}: it is not made again");
        assert_eq!(ground.status().await.desired, if happened { 2 } else { 1 }, "{fault:?}");
        // The number is absolute, so the next tick may say it in any case.
        assert_eq!(ground.grow_to(2).await, Ok(Applied { desired: 2, changed: !happened }), "{fault:?}");
    }
}

#[tokio::test]
async fn a_reading_that_failed_is_an_error_and_not_an_empty_group() {
    for (fault, said, word) in [
        (Fault::DENIED, "refused", "allow the action"),
        (Fault::Failed, "unavailable", "HTTP 500"),
        (Fault::Code(500, "InternalFailure", "Sorry"), "unavailable", "Sorry"),
        (Fault::Malformed, "unavailable", ""),
        (Fault::Reset, "unavailable", ""),
        (Fault::DoneThenReset, "unavailable", ""),
    ] {
        let ground = Ground::of(0, 4, 2).await;
        ground.aws.faults("DescribeAutoScalingGroups", [fault.clone()]);
        let (verdict, why) = verdict(ground.look().await);
        assert!(verdict == said && why.contains(word), "{fault:?}: {verdict}: {why}");
        assert!(!why.is_empty() && !why.contains("secret"), "{fault:?}: {why}");
        assert_eq!(ground.status().await.desired, 2, "{fault:?}");
    }
}

#[tokio::test]
async fn what_is_asked_beside_a_reading_does_not_spoil_it() {
    let aws = Aws::fresh().await;
    let group = aws.group(0..=4, 2).await;
    aws.launches_fail(&group, Some("no capacity")).await;
    let grown = [("AutoScalingGroupName", &*group), ("DesiredCapacity", "3")];
    aws.call("SetDesiredCapacity", &grown).await;
    aws.faults("DescribeLifecycleHooks", [Fault::DENIED]);
    aws.faults("DescribeScalingActivities", [Fault::DENIED]);
    let driver = AwsDriver::new(config(&aws, &group).boot(Duration::ZERO)).await;
    let status = driver.status(&[pool()]).await.remove(0).unwrap();
    assert_eq!((status.desired, status.instances.len()), (3, 2));
    assert!(status.warnings.iter().any(|warning| warning.contains("hooks") && warning.contains("allow the action")));
    assert!(status.trouble.is_some_and(|trouble| trouble.message.contains("allow the action")));
}

#[tokio::test]
async fn a_platform_that_does_not_answer_is_given_up_in_time() {
    let ground = Ground::of(0, 4, 2).await;
    let id = ground.ids().await.remove(0);
    ground.aws.faults("SetDesiredCapacity", [Fault::Silence]);
    ground.aws.faults("TerminateInstanceInAutoScalingGroup", [Fault::Silence]);
    for answer in [ground.grow_to(3).await, ground.remove(&[&id]).await] {
        let (verdict, why) = verdict(answer);
        assert!(verdict == "unknown" && why.contains("no answer within"), "{verdict}: {why}");
    }
    ground.aws.faults("DescribeAutoScalingGroups", [Fault::Silence]);
    let started = Instant::now();
    assert_eq!(verdict(ground.look().await).0, "unavailable");
    assert!(started.elapsed() < 3 * 10 * S, "{:?}", started.elapsed());
}

#[tokio::test]
async fn one_that_answers_slowly_is_waited_for() {
    let ground = Ground::of(0, 4, 1).await;
    ground.aws.faults("SetDesiredCapacity", [Fault::Slow(S)]);
    assert_eq!(ground.grow_to(2).await, Ok(Applied { desired: 2, changed: true }));
}

#[tokio::test]
async fn where_nobody_listens_nothing_has_happened() {
    let Ground { aws, driver, .. } = Ground::of(0, 4, 1).await;
    let instances = driver.status(&[pool()]).await.remove(0).unwrap().instances.into_iter().map(|one| one.id).collect();
    drop(aws);
    let (said, why) = verdict(driver.status(&[pool()]).await.remove(0));
    assert!(said == "unavailable" && why.to_lowercase().contains("connect"), "{said}: {why}");
    for change in [Change::GrowTo { pool: pool(), size: 2 }, Change::Remove { pool: pool(), instances, size: 0 }] {
        let (said, why) = verdict(driver.apply(&[change]).await.remove(0));
        assert!(said == "unavailable" && why.to_lowercase().contains("connect"), "{said}: {why}");
    }
}
