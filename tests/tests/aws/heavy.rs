//! A scaler, a group and real workers, from the first job to the last.

mod ending;

use std::sync::Arc;

use headcount_queue::store::{self, Options};
use headcount_scaler::Reconciler;
use headcount_tests::{
    Place, eventually,
    moto::{Boot, Fault},
};

use super::*;

/// Notes its start and its end in a file of the job's own.
const JOB: &str = "echo start >>job.$HEADCOUNT_JOB_ID; sleep 0.3; echo end >>job.$HEADCOUNT_JOB_ID";
/// Only a failing test waits so long.
const LONG: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_burst_grows_the_group_and_shrinking_it_kills_no_job_though_calls_go_wrong() {
    let (place, aws) = (Arc::new(Place::postgres().await), Aws::fresh().await);
    let group = aws.group(0..=4, 0).await;
    aws.hook(&group, "finish", 600 * S).await;
    aws.boots(Boot::After(S / 5));
    let (handler, place_of_workers) = (place.handler(JOB), Arc::clone(&place));
    aws.workers(move |_| {
        place_of_workers.headcount(&format!("work --exec {handler} --slots 1 --pool pool --grace 5s"))
    });
    aws.faults("SetDesiredCapacity", [Fault::DoneThenFailed]);
    aws.faults("TerminateInstanceInAutoScalingGroup", [Fault::DoneThenReset, Fault::CONTENTION, Fault::THROTTLED]);
    aws.faults("CompleteLifecycleAction", [Fault::DoneThenReset]);

    let spec = PoolSpec::new("pool", "".parse().unwrap(), 0..=4).unwrap();
    let spec = spec.policy(headcount_scaler::Policy::Linear).hold(S / 2).remove_after(S / 2).idle_to_zero(S);
    let driver = Arc::new(driver(&aws, &group).await);
    let store = store::open(&place.url.parse().unwrap(), &Options::default()).await.unwrap();
    let mut scaler = Reconciler::new(store, "scaler").pool(spec, driver).unwrap();

    let lines = "{}\n".repeat(24);
    place.headcount("enqueue burst --lines").stdin(lines).start().ends_well(SOON).await;
    let mut most = 0;
    eventually("the work is done and the pool is empty", LONG, async || {
        let records = scaler.tick().await;
        let (desired, instances) = aws.look(&group).await;
        most = most.max(instances.len());
        let left = place.states().await;
        if desired == 0 && instances.is_empty() && left.is_empty() { Ok(()) } else { Err((records, instances, left)) }
    })
    .await;

    assert_eq!(most, 4);
    let ends = eventually("all workers have ended", SOON, async || {
        let ends = aws.ends();
        if ends.len() < 4 { Err(ends) } else { Ok(ends) }
    })
    .await;
    // One that is let go may end before its machine does.
    assert!(ends.iter().all(|end| !end.killed && end.status.success()), "{ends:?}");
    let jobs: Vec<String> = std::fs::read_dir(place.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("job.")))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(jobs, vec!["start\nend\n"; 24]);
    // Four instances, and two calls that certainly did not happen: none was asked for twice.
    assert_eq!(aws.calls("TerminateInstanceInAutoScalingGroup").len(), 4 + 2);
}
