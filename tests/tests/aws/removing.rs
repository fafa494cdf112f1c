//! Removing: by name, with one decrement each, and let go when nothing waits for them.

use headcount_tests::moto::Fault;

use super::*;

#[tokio::test]
async fn exactly_those_that_are_named_go_and_none_comes_in_their_place() {
    let ground = Ground::of(0, 4, 3).await;
    let ids = ground.ids().await;
    let applied = ground.remove(&[&ids[0], &ids[2]]).await;
    assert_eq!(applied, Ok(Applied { desired: 1, changed: true }));
    assert_eq!(ground.ids().await, ids[1..2]);
    assert_eq!(ground.status().await.desired, 1);
    let calls = ground.aws.calls("TerminateInstanceInAutoScalingGroup");
    assert!(calls.iter().all(|call| call.get("ShouldDecrementDesiredCapacity") == "true"));
    assert_eq!((calls.len(), ground.asked("SetDesiredCapacity")), (2, 0));
}

#[tokio::test]
async fn below_the_group_s_least_it_is_refused_in_the_platform_s_words() {
    let ground = Ground::of(2, 4, 2).await;
    let ids = ground.ids().await;
    let Err(DriverError::Refused(why)) = ground.remove(&[&ids[0]]).await else { panic!("the group keeps 2") };
    assert!(why.contains(&ids[0]) && why.contains("minSize (2)"), "{why}");
    assert_eq!(ground.ids().await, ids);
}

#[tokio::test]
async fn of_several_the_group_s_least_stay_and_the_answer_waits_for_the_next_reading() {
    let ground = Ground::of(1, 4, 2).await;
    let ids = ground.ids().await;
    let answer = ground.remove(&[&ids[0], &ids[1]]).await;
    let Err(DriverError::Unknown(why)) = &answer else { panic!("{answer:?}") };
    assert!(why.contains("is being removed") && why.contains("minSize (1)"), "{why}");
    assert_eq!(ground.ids().await.len(), 1);
}

#[tokio::test]
async fn protection_from_scaling_in_does_not_keep_what_is_named() {
    let ground = Ground::of(0, 4, 2).await;
    let ids = ground.ids().await;
    let protect = [
        ("AutoScalingGroupName", &*ground.group),
        ("InstanceIds.member.1", &*ids[0]),
        ("ProtectedFromScaleIn", "true"),
    ];
    ground.aws.call("SetInstanceProtection", &protect).await;
    assert_eq!(ground.remove(&[&ids[0]]).await, Ok(Applied { desired: 1, changed: true }));
    assert_eq!(ground.ids().await, ids[1..]);
}

#[tokio::test]
async fn an_instance_of_another_group_is_left_alone() {
    let ground = Ground::of(0, 4, 1).await;
    let other = ground.aws.group(0..=4, 1).await;
    let id = ground.aws.ids(&other).await.remove(0);
    let Err(DriverError::Refused(why)) = ground.remove(&[&id]).await else { panic!("it is not the pool's") };
    assert!(why.contains(&id) && why.contains(&ground.group), "{why}");
    assert_eq!(ground.aws.ids(&other).await, [id]);
}

#[tokio::test]
async fn what_was_asked_for_once_is_not_asked_for_again() {
    let ground = Ground::of(0, 4, 3).await;
    ground.aws.hook(&ground.group, "finish", 600 * S).await;
    let ids = ground.ids().await;
    // Before any reading shows it, and after one has.
    ground.remove(&[&ids[0]]).await.unwrap();
    assert_eq!(ground.remove(&[&ids[0]]).await, Ok(Applied { desired: 2, changed: false }));
    ground.aws.faults("CompleteLifecycleAction", [Fault::Failed]);
    assert_eq!(up_and_ending(&ground.status().await), (2, 1));
    ground.remove(&[&ids[0]]).await.unwrap();
    assert_eq!(ground.asked("TerminateInstanceInAutoScalingGroup"), 1);
    assert_eq!(ground.status().await.desired, 2);
}

#[tokio::test]
async fn an_answer_that_was_lost_costs_no_second_instance() {
    for fault in [Fault::DoneThenReset, Fault::DoneThenFailed] {
        let ground = Ground::of(0, 4, 3).await;
        ground.aws.hook(&ground.group, "finish", 600 * S).await;
        let ids = ground.ids().await;
        ground.aws.faults("TerminateInstanceInAutoScalingGroup", [fault.clone()]);
        let answer = ground.remove(&[&ids[0]]).await;
        assert!(matches!(&answer, Err(DriverError::Unknown(why)) if why.contains(&ids[0])), "{fault:?}: {answer:?}");
        // The next tick may come before any reading.
        let again = ground.remove(&[&ids[0]]).await;
        assert!(matches!(again, Err(DriverError::Unknown(_))), "{fault:?}: {again:?}");
        ground.aws.faults("CompleteLifecycleAction", [Fault::Failed]);
        assert_eq!(ground.status().await.desired, 2);
        assert_eq!(ground.asked("TerminateInstanceInAutoScalingGroup"), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn what_the_driver_removed_is_let_go_from_its_hook_at_the_next_look() {
    let ground = Ground::of(0, 4, 2).await;
    // The first look was before the hook.
    ground.aws.hook(&ground.group, "finish", 600 * S).await;
    let ground = Ground { driver: driver(&ground.aws, &ground.group).await, ..ground };
    ground.status().await;
    let ids = ground.ids().await;
    ground.remove(&[&ids[0]]).await.unwrap();
    assert_eq!(ground.aws.look(&ground.group).await.1.len(), 2, "it waits in the hook");
    ground.aws.faults("CompleteLifecycleAction", [Fault::Failed]);
    ground.status().await;
    assert_eq!(ground.ids().await.len(), 2, "the call failed");
    ground.status().await;
    assert_eq!(ground.ids().await, ids[1..]);
    let calls = ground.aws.calls("CompleteLifecycleAction");
    let said = ["AutoScalingGroupName", "LifecycleHookName", "InstanceId", "LifecycleActionResult"];
    assert_eq!(said.map(|name| calls[1].get(name)), [&*ground.group, "finish", &ids[0], "CONTINUE"]);
    ground.status().await;
    assert_eq!(ground.asked("CompleteLifecycleAction"), 2, "it is gone");
}

#[tokio::test]
async fn what_somebody_else_terminated_is_let_go_when_its_removal_is_asked_for_and_not_before() {
    let ground = Ground::of(0, 4, 2).await;
    ground.aws.hook(&ground.group, "finish", 600 * S).await;
    let ground = Ground { driver: driver(&ground.aws, &ground.group).await, ..ground };
    let ids = ground.ids().await;
    let terminate = [("InstanceId", &*ids[0]), ("ShouldDecrementDesiredCapacity", "true")];
    ground.aws.call("TerminateInstanceInAutoScalingGroup", &terminate).await;
    for _ in 0..2 {
        assert_eq!(up_and_ending(&ground.status().await), (1, 1), "its worker may be at work");
    }
    assert_eq!(ground.remove(&[&ids[0]]).await, Ok(Applied { desired: 1, changed: true }));
    assert_eq!(ground.ids().await, ids[1..]);
    assert_eq!(ground.asked("TerminateInstanceInAutoScalingGroup"), 0);
}

#[tokio::test]
async fn a_worker_that_was_faster_than_the_driver_is_no_failure() {
    let ground = Ground::of(0, 4, 2).await;
    ground.aws.hook(&ground.group, "finish", 600 * S).await;
    let ground = Ground { driver: driver(&ground.aws, &ground.group).await, ..ground };
    ground.status().await;
    let ids = ground.ids().await;
    ground.remove(&[&ids[0]]).await.unwrap();
    let faster = Fault::Code(400, "ValidationError", "No active Lifecycle Action found with instance ID i-0");
    ground.aws.faults("CompleteLifecycleAction", [faster]);
    for _ in 0..3 {
        ground.status().await;
    }
    assert_eq!(ground.asked("CompleteLifecycleAction"), 1);
}
