//! Beside the release before: its workers run on the tables of this one, and nothing is lost, doubled or forgotten.

mod heavy {
    use std::{collections::BTreeMap, path::Path, time::Duration};

    use headcount_queue::{
        Backoff, JobId, NewJob, Resolution,
        store::{Admin, Enqueue, Maintain, Observe},
    };
    use headcount_tests::{Database, Folder, Process, Signal, eventually};
    use sqlx::Executor;

    use super::super::{
        ground::{Worker, end, number, open},
        parked::{PARK, callback},
    };

    const SOON: Duration = Duration::from_mins(1);

    /// The `headcount` command of the release before, which `tests/run` builds by `tests/release-before`.
    fn before() -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "the tests' own setting; no part of the product reads it")]
        let path = std::env::var("HEADCOUNT_TEST_RELEASE_BEFORE").ok().filter(|path| !path.is_empty());
        if path.is_none() {
            eprintln!("SKIPPED: no command of the release before: see tests/release-before");
        }
        path
    }

    /// A handler that notes each run, fails where it should, and runs until it is stopped where it should.
    const HANDLER: &str = r#"#!/bin/sh
payload=$(cat)
echo "$HEADCOUNT_JOB_ID $1 ${#payload}" >>ran
case $HEADCOUNT_JOB_KIND-$HEADCOUNT_JOB_ATTEMPT in
    once-1 | never-*) exit 1 ;;
    endless-*) exec tail -f /dev/null ;;
esac
"#;

    struct Ground {
        database: Database,
        folder: Folder,
        before: String,
    }

    impl Ground {
        fn work(&self, who: &str, queue: &str, more: &[&str]) -> Process {
            let exec = format!("sh handler {who}");
            let mut args = vec!["work", "--queue", queue, "--exec", &exec, "--poll", "50ms", "--slots", "4"];
            args.extend(more);
            let program = match who {
                "before" => self.folder.program(&self.before, args),
                _ => self.folder.headcount(args),
            };
            program.url(self.database.url()).start()
        }

        /// Who has run each job, in order.
        fn ran(&self) -> BTreeMap<i64, Vec<String>> {
            let text = std::fs::read_to_string(self.folder.file("ran")).unwrap_or_default();
            let mut ran = BTreeMap::<i64, Vec<String>>::new();
            for line in text.lines() {
                let mut words = line.split(' ');
                let id = words.next().and_then(|id| id.parse().ok()).expect("a job's id");
                ran.entry(id).or_default().push(words.next().expect("who").to_owned());
            }
            ran
        }
    }

    async fn ground() -> Option<Ground> {
        let before = before()?;
        assert!(Path::new(&before).exists(), "{before}");
        let (database, folder) = (Database::empty().await, Folder::new());
        std::fs::write(folder.file("handler"), HANDLER).unwrap();
        open(&database, 1).migrate().await.unwrap();
        Some(Ground { database, folder, before })
    }

    fn job(kind: &str, queue: &str) -> NewJob {
        NewJob::new(kind, "{}").queue(queue).backoff(Backoff::fixed(Duration::from_millis(1)))
    }

    /// As this release keeps a coalesce key, whether or not the job waits.
    const KEYS: &str = "
        UPDATE headcount.ready SET extra = json_build_object('key', id::text, 'scope', 'unfinished');
        UPDATE headcount.later SET extra = json_build_object('key', id::text, 'scope', 'unfinished');
        INSERT INTO headcount.coalesce (queue, key, job_id, scope)
        SELECT j.queue, j.id::text, j.id, 'unfinished'
        FROM (SELECT queue, id FROM headcount.ready UNION ALL SELECT queue, id FROM headcount.later) j;
    ";

    /// Those whose extra is not what it was made.
    const BARE: &str = "SELECT count(*) FROM (
            SELECT id, extra FROM headcount.ready UNION ALL SELECT id, extra FROM headcount.later UNION ALL
            SELECT id, extra FROM headcount.running UNION ALL SELECT id, extra FROM headcount.held UNION ALL
            SELECT id, extra FROM headcount.finished) j
        WHERE j.extra IS NULL OR j.extra ->> 'key' <> j.id::text OR j.extra ->> 'scope' <> 'unfinished'";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn jobs_that_the_release_before_moves_come_back_whole() {
        let Some(ground) = ground().await else { return };
        let (store, mut looking) = (open(&ground.database, 2), ground.database.connect().await);
        let long = format!("\"{}\"", "x".repeat(20_000));
        let new = [
            job("well", "old"),
            job("once", "old"),
            job("never", "old").max_attempts(2),
            job("endless", "old"),
            job("well", "old").delay(Duration::from_millis(300)),
            NewJob::new("never", long).queue("old").max_attempts(1),
        ];
        let ids: Vec<i64> = store.enqueue(&new).await.unwrap().iter().map(|new| new.id.0).collect();
        looking.execute(KEYS).await.unwrap();

        // Claimed, completed, failed, retried, promoted, all by the release before.
        let mut work = ground.work("before", "old", &["--grace", "1s"]);
        let left = "SELECT count(*) FROM headcount.jobs WHERE state NOT IN ('failed', 'running')";
        let runs = "SELECT count(*) FROM headcount.running";
        eventually("only the endless one is left", SOON, async || {
            let found = (number(&mut looking, left).await, number(&mut looking, runs).await);
            if found == (0, 1) && ground.ran().len() == 6 { Ok(()) } else { Err((found, ground.ran())) }
        })
        .await;
        assert_eq!(number(&mut looking, BARE).await, 0, "what runs and what failed");
        // Given back.
        assert!(work.signal(Signal::TERM));
        work.ends(SOON).await;
        assert_eq!(number(&mut looking, "SELECT count(*) FROM headcount.ready").await, 1);
        assert_eq!(number(&mut looking, BARE).await, 0, "what was given back");
        let ran = ground.ran();
        let runs: Vec<_> = ids.iter().map(|id| ran[id].len()).collect();
        assert_eq!(runs, [1, 2, 2, 1, 1, 1], "{ran:?}");
        let text = std::fs::read_to_string(ground.folder.file("ran")).unwrap();
        assert!(text.lines().any(|line| line == format!("{} before 20002", ids[5])), "a long payload is whole: {text}");
        assert_eq!(store.audit().await.unwrap(), []);

        // What the release before did not let go of, maintenance does: all but the key of the one that waits.
        let keys = "SELECT count(*) FROM pg_proc WHERE proname = 'release_keys' \
                    AND pronamespace = 'headcount'::regnamespace";
        if number(&mut looking, keys).await > 0 {
            eventually("the keys of jobs that are over are let go of", SOON, async || {
                store.release(100).await.unwrap();
                let kept = number(&mut looking, "SELECT count(*) FROM headcount.coalesce").await;
                if kept == 1 { Ok(()) } else { Err(kept) }
            })
            .await;
        }
        store.delete(JobId(ids[3])).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn workers_of_both_releases_share_a_queue_and_lose_and_double_nothing() {
        let Some(ground) = ground().await else { return };
        let (store, mut looking) = (open(&ground.database, 2), ground.database.connect().await);
        let mut workers = [ground.work("before", "both", &[]), ground.work("this", "both", &[])];
        eventually("both have come", SOON, async || {
            let workers = number(&mut looking, "SELECT count(*) FROM headcount.worker").await;
            if workers == 2 { Ok(()) } else { Err(workers) }
        })
        .await;
        let new: Vec<_> = (0..60)
            .map(|n| job(["well", "once", "well"][n % 3], "both"))
            .enumerate()
            .map(|(n, job)| if n % 10 == 0 { job.delay(Duration::from_millis(100)) } else { job })
            .collect();
        let mut ids: Vec<i64> = store.enqueue(&new).await.unwrap().iter().map(|new| new.id.0).collect();
        // Those of the release before, too.
        let args = ["enqueue", "well", "{}", "--queue", "both"];
        let enqueue = ground.folder.program(&ground.before, args).url(ground.database.url());
        ids.extend(enqueue.start().ends_well(SOON).await.json::<i64>());
        assert_eq!(ids.len(), 61);
        eventually("all are done", SOON, async || {
            let left = number(&mut looking, "SELECT count(*) FROM headcount.jobs").await;
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
        for worker in &mut workers {
            assert!(worker.signal(Signal::TERM));
            worker.ends_well(SOON).await;
        }
        let ran = ground.ran();
        for (n, id) in ids.iter().enumerate() {
            let runs = if n % 3 == 1 && n < 60 { 2 } else { 1 };
            assert_eq!(ran[id].len(), runs, "job {n}: {:?}", ran[id]);
        }
        assert_eq!(ran.len(), ids.len());
        for who in ["before", "this"] {
            assert!(ran.values().flatten().any(|ran| ran == who), "{who} took part: {ran:?}");
        }
        assert_eq!(store.audit().await.unwrap(), []);
    }

    /// It folds deltas of a counter that it does not know.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn parked_jobs_are_counted_beside_folds_of_the_release_before() {
        let Some(ground) = ground().await else { return };
        let (store, mut looking) = (open(&ground.database, 2), ground.database.connect().await);
        let mut worker = Worker::new(&store, "waits").await;
        store.enqueue(&[job("well", "waits"), job("well", "waits"), job("well", "waits")]).await.unwrap();
        let claimed = worker.next(&[], 3).await.jobs;
        let secret = callback(&store, &claimed[0]).await;
        worker.next(&end(&claimed, &PARK), 0).await;
        let mut work = ground.work("before", "other", &[]);
        let deltas = "SELECT count(*) FROM headcount.tally";
        let silent = "SELECT count(*) FROM headcount.queue_state WHERE queue = 'waits' AND parked IS NULL";
        let folded = async |looking: &mut sqlx::PgConnection, silences: i64| {
            eventually("the release before folds", SOON, async || {
                let found = (number(looking, deltas).await, number(looking, silent).await);
                if found.0 == 0 && found.1 >= silences { Ok(found.1) } else { Err(found) }
            })
            .await
        };
        let parked = async || {
            let queues = store.queues().await.unwrap();
            queues.iter().find(|queue| queue.queue == "waits").map(|queue| queue.depth.parked)
        };
        let silences = folded(&mut looking, 1).await;
        assert_eq!(parked().await, Some(3), "what it does not say is counted");
        store.resolve(claimed[0].id, &secret, &Resolution::Completed { output: None }).await.unwrap();
        folded(&mut looking, silences + 1).await;
        assert_eq!(parked().await, Some(2));

        // Without it, what was counted is written down: by a fold that finds a delta, and by the audit where none comes.
        assert!(work.signal(Signal::TERM));
        work.ends_well(SOON).await;
        assert_eq!(store.audit().await.unwrap(), [], "no defect");
        store.fold().await.unwrap();
        let newest = "SELECT parked FROM headcount.queue_state WHERE queue = 'waits' ORDER BY version DESC LIMIT 1";
        assert_eq!(number(&mut looking, newest).await, 2);
        store.delete(claimed[1].id).await.unwrap();
        store.fold().await.unwrap();
        assert_eq!((parked().await, number(&mut looking, newest).await), (Some(1), 1));
        assert_eq!(store.audit().await.unwrap(), []);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_migration_of_the_release_before_leaves_newer_tables_alone_and_its_jobs_are_run() {
        let Some(ground) = ground().await else { return };
        let store = open(&ground.database, 1);
        let version = store.migrate().await.unwrap();
        let old = |args: &[&str]| ground.folder.program(&ground.before, args).url(ground.database.url()).start();
        let said = old(&["migrate"]).ends_well(SOON).await.stdout();
        assert!(said.contains(&version.to_string()), "{said}");
        assert_eq!(store.drift().await.unwrap(), []);
        assert_eq!(store.migrate().await.unwrap(), version);
        let id = old(&["enqueue", "well", "{}", "--queue", "new"]).ends_well(SOON).await.json::<i64>()[0];
        ground.work("this", "new", &["--exit-if-empty"]).ends_well(SOON).await;
        assert_eq!(ground.ran()[&id], ["this"]);
    }
}
