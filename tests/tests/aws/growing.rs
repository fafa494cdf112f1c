//! Growing: absolute, never down, within the group's bounds.

use super::*;

#[tokio::test]
async fn growing_is_absolute_and_ignores_the_cool_down() {
    let ground = Ground::of(0, 4, 1).await;
    for (size, desired, changed) in [(2, 2, true), (2, 2, false), (3, 3, true), (1, 3, false)] {
        assert_eq!(ground.grow_to(size).await, Ok(Applied { desired, changed }));
    }
    let calls = ground.aws.calls("SetDesiredCapacity");
    assert_eq!(calls.iter().map(|call| call.get("DesiredCapacity")).collect::<Vec<_>>(), ["2", "3"]);
    assert!(calls.iter().all(|call| call.get("HonorCooldown") == "false"));
    assert_eq!(up_and_ending(&ground.status().await), (3, 0));
}

#[tokio::test]
async fn what_somebody_raised_since_the_last_look_is_not_lowered() {
    let ground = Ground::of(0, 4, 1).await;
    let raised = [("AutoScalingGroupName", &*ground.group), ("DesiredCapacity", "4")];
    ground.aws.call("SetDesiredCapacity", &raised).await;
    assert_eq!(ground.grow_to(2).await, Ok(Applied { desired: 4, changed: false }));
    assert_eq!(ground.ids().await.len(), 4);
}

#[tokio::test]
async fn beyond_the_group_s_most_it_is_refused() {
    let ground = Ground::of(0, 2, 1).await;
    let Err(DriverError::Refused(why)) = ground.grow_to(3).await else { panic!("the group takes 2") };
    assert!(why.contains("above max value 2"), "{why}");
    assert_eq!(ground.ids().await.len(), 1);
}

#[tokio::test]
async fn a_group_that_went_away_is_named() {
    let ground = Ground::of(0, 2, 0).await;
    let gone = [("AutoScalingGroupName", &*ground.group), ("ForceDelete", "true")];
    ground.aws.call("DeleteAutoScalingGroup", &gone).await;
    let Err(DriverError::Refused(why)) = ground.grow_to(1).await else { panic!("it is gone") };
    assert!(why.contains(&ground.group), "{why}");
}

#[tokio::test]
async fn changes_of_several_pools_are_answered_in_their_order() {
    let aws = Aws::fresh().await;
    let groups = [aws.group(0..=4, 1).await, aws.group(0..=1, 1).await];
    let other = PoolSpec::new("other", "other".parse().unwrap(), 0..=4).unwrap();
    let driver = AwsDriver::new(config(&aws, &groups[0]).pool(&other, &groups[1]).unwrap()).await;
    driver.status(&[pool(), PoolRef::from("other")]).await;
    let id = InstanceId::from(aws.ids(&groups[0]).await.remove(0));
    let changes = [
        Change::Remove { pool: pool(), instances: vec![id], size: 0 },
        Change::GrowTo { pool: PoolRef::from("other"), size: 3 },
        Change::GrowTo { pool: pool(), size: 2 },
        Change::GrowTo { pool: PoolRef::from("unknown"), size: 2 },
    ];
    let answers = driver.apply(&changes).await;
    assert_eq!(answers[0], Ok(Applied { desired: 0, changed: true }));
    assert!(matches!(&answers[1], Err(DriverError::Refused(why)) if why.contains("above max")), "{answers:?}");
    assert_eq!(answers[2], Ok(Applied { desired: 2, changed: true }));
    assert!(matches!(&answers[3], Err(DriverError::Refused(_))), "{answers:?}");
}
