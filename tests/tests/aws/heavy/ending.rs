//! Instances that end without the scaler's having asked for it, and removals that do not happen, while jobs run.

use super::*;

/// Notes its start and its end; how long it takes is said by its kind.
const TIMED: &str = "echo start >>job.$HEADCOUNT_JOB_ID; sleep $HEADCOUNT_JOB_KIND; echo end >>job.$HEADCOUNT_JOB_ID";

/// A group of one instance with a worker, its store, and whatever scalers come and go.
struct Scene {
    place: Arc<Place>,
    aws: Aws,
    group: String,
    /// The instance that is there from the start.
    id: String,
}

impl Scene {
    /// Its worker has registered under the instance's name.
    async fn of(hook: Option<Duration>) -> Self {
        let (place, aws) = (Arc::new(Place::postgres().await), Aws::fresh().await);
        place.says("migrate").await;
        let (handler, place_of_workers) = (place.handler(TIMED), Arc::clone(&place));
        aws.workers(move |_| {
            let line = format!("work --exec {handler} --queue local --slots 2 --pool pool --grace 4s");
            place_of_workers.headcount(&line)
        });
        aws.boots(Boot::Held);
        let group = aws.group(0..=4, 1).await;
        if let Some(heartbeat) = hook {
            aws.hook(&group, "finish", heartbeat).await;
        }
        let id = aws.ids(&group).await.remove(0);
        aws.boot(&id);
        eventually("its worker beats under the instance's id", SOON, async || {
            let workers = place.rows("workers").await;
            if workers.iter().any(|worker| worker["instance"] == *id) { Ok(()) } else { Err(workers) }
        })
        .await;
        Self { place, aws, group, id }
    }

    /// A scaler that knows nothing yet.
    async fn scaler(&self) -> Reconciler {
        let spec = PoolSpec::new("pool", "local".parse().unwrap(), 0..=4).unwrap();
        let spec = spec.policy(headcount_scaler::Policy::Linear).hold(S / 2).remove_after(S / 2).idle_to_zero(S);
        let store = store::open(&self.place.url.parse().unwrap(), &Options::default()).await.unwrap();
        Reconciler::new(store, "scaler").pool(spec, Arc::new(driver(&self.aws, &self.group).await)).unwrap()
    }

    /// A job of so many seconds, which has started.
    async fn job(&self, seconds: u32) -> String {
        let id = self.place.enqueue(&format!("{seconds} --queue local")).await;
        eventually("it has started", SOON, async || {
            let notes = self.notes(&id);
            if notes.is_empty() { Err(()) } else { Ok(()) }
        })
        .await;
        id
    }

    fn notes(&self, job: &str) -> String {
        std::fs::read_to_string(self.place.folder.file(format!("job.{job}"))).unwrap_or_default()
    }

    /// Somebody else terminates the instance: as for a rebalanced zone, another comes in its place unless `last`.
    async fn terminate(&self, last: bool) {
        let decrement = if last { "true" } else { "false" };
        let terminate = [("InstanceId", &*self.id), ("ShouldDecrementDesiredCapacity", decrement)];
        self.aws.call("TerminateInstanceInAutoScalingGroup", &terminate).await;
    }

    /// The scaler goes round until the instance is listed no longer.
    async fn until_gone(&self, scaler: &mut Reconciler) {
        eventually("the instance is gone", LONG, async || {
            let records = scaler.tick().await;
            let ids = self.aws.ids(&self.group).await;
            if ids.contains(&self.id) { Err(records) } else { Ok(()) }
        })
        .await;
    }

    /// How its worker ended.
    async fn end(&self) -> headcount_tests::moto::WorkerEnd {
        eventually("its worker has ended", LONG, async || {
            self.aws.ends().into_iter().find(|end| end.instance == self.id).ok_or(())
        })
        .await
    }
}

#[tokio::test]
async fn a_zone_that_is_rebalanced_waits_for_the_job_and_no_longer() {
    // Without a sign the hook runs out long before the job is done.
    let scene = Scene::of(Some(4 * S)).await;
    let mut scaler = scene.scaler().await;
    let job = scene.job(12).await;
    scene.aws.faults("RecordLifecycleActionHeartbeat", [Fault::THROTTLED, Fault::Failed]);
    scene.aws.faults("CompleteLifecycleAction", [Fault::Failed]);
    scene.terminate(false).await;
    scene.until_gone(&mut scaler).await;
    assert_eq!(scene.notes(&job), "start\nend\n");
    let end = scene.end().await;
    assert!(!end.killed && end.status.success(), "{end:?}");
    let extended = scene.aws.calls("RecordLifecycleActionHeartbeat");
    assert!(extended.len() > 4 && extended.iter().all(|call| call.get("InstanceId") == scene.id), "{extended:?}");
    assert_eq!(scene.aws.calls("CompleteLifecycleAction").len(), 2);
    assert_eq!(scene.place.states().await, [""; 0]);
}

#[tokio::test]
async fn a_scaler_that_takes_over_goes_on_where_the_killed_one_was() {
    // More than a lease, so that the next scaler comes in time; less than the job.
    let scene = Scene::of(Some(15 * S)).await;
    let mut killed = scene.scaler().await;
    let job = scene.job(20).await;
    scene.terminate(true).await;
    eventually("the first scaler has the hook wait", SOON, async || {
        let records = killed.tick().await;
        if scene.aws.calls("RecordLifecycleActionHeartbeat").is_empty() { Err(records) } else { Ok(()) }
    })
    .await;
    drop(killed);
    scene.until_gone(&mut scene.scaler().await).await;
    assert_eq!(scene.notes(&job), "start\nend\n");
    let end = scene.end().await;
    assert!(!end.killed && end.status.success(), "{end:?}");
    assert_eq!(scene.aws.calls("CompleteLifecycleAction").len(), 1);
}

#[tokio::test]
async fn an_instance_whose_worker_is_gone_waits_for_nobody() {
    let scene = Scene::of(Some(3600 * S)).await;
    let mut scaler = scene.scaler().await;
    let job = scene.job(60).await;
    let pid = scene.place.row("workers").await["pid"].as_i64().unwrap().to_string();
    scene.place.folder.program("kill", ["-9", &pid]).start().ends_well(SOON).await;
    scene.terminate(true).await;
    // Another pool's worker is no part of this: the job is freed, and nobody is there to run it twice at once.
    scene.until_gone(&mut scaler).await;
    assert_eq!(scene.aws.calls("CompleteLifecycleAction").len(), 1);
    assert_eq!(scene.notes(&job), "start\n");
    assert!(["queued", "running"].contains(&&*scene.place.states().await[0]), "it is not lost");
}

#[tokio::test]
async fn a_spot_instance_that_is_taken_back_finishes_what_it_can_and_gives_back_the_rest_in_time() {
    let scene = Scene::of(None).await;
    let long = scene.job(600).await;
    let short = scene.job(6).await;
    let noticed = std::time::Instant::now();
    scene.aws.take_back(&scene.id, 20 * S);
    let end = scene.end().await;
    assert!(noticed.elapsed() < 20 * S, "it was out in time");
    assert_eq!((end.asked, end.killed, end.status.code()), (false, false, Some(93)));
    assert_eq!((scene.notes(&short).as_str(), scene.notes(&long).as_str()), ("start\nend\n", "start\n"));
    let left = scene.place.row("jobs list").await;
    assert_eq!((left["id"].to_string().as_str(), left["state"].as_str()), (long.as_str(), Some("queued")));
}

#[tokio::test]
async fn a_worker_that_hears_of_the_end_claims_nothing_more_and_none_begins_after_it() {
    let scene = Scene::of(Some(3600 * S)).await;
    let first = scene.job(8).await;
    scene.terminate(true).await;
    // No scaler is there to drain it.
    let end = scene.end().await;
    assert!(!end.asked && end.status.success(), "{end:?}");
    assert_eq!(scene.notes(&first), "start\nend\n");
    let metadata = scene.aws.metadata(&scene.id).unwrap();
    scene.place.enqueue("1 --queue local").await;
    let again = scene.place.headcount("work --exec true --queue local");
    let again = again.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata).start().ends_well(SOON).await;
    assert!(again.stdout().contains("no worker starts on it"), "{}", again.stdout());
    assert_eq!(scene.place.states().await, ["queued"]);
}

#[tokio::test]
async fn a_removal_that_did_not_happen_is_asked_for_again_though_the_worker_has_left() {
    let scene = Scene::of(None).await;
    let mut scaler = scene.scaler().await;
    // The call is lost on its way, and nobody can tell.
    scene.aws.faults("TerminateInstanceInAutoScalingGroup", [Fault::Failed]);
    scene.until_gone(&mut scaler).await;
    let end = scene.end().await;
    assert!(!end.asked && end.status.success(), "it left by itself, before its machine went: {end:?}");
    assert_eq!(scene.aws.calls("TerminateInstanceInAutoScalingGroup").len(), 2);
    assert_eq!(scene.aws.look(&scene.group).await.0, 0);
}
