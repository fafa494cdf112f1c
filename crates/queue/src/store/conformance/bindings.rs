//! Bindings: whoever names the beginning of a name serves every queue that begins so, and no other.

use std::{collections::BTreeMap, time::Duration};

use super::trial::{HOUR, Trial, completed, eventually, ids, new_worker, plain};
use crate::{
    Binding, JobId,
    store::{Outstanding, WorkerState},
};

/// Queues whose names lie close together in every order that a database might use.
const QUEUES: [&str; 14] = [
    "mail", "mail-x", "mail.", "mail.a", "mail.b.c", "mail.ß", "mail/", "MAIL.a", "mails", "m", "r", "red", "run:a",
    "run:ab",
];

/// Each binding gets what its entries mean: names, beginnings, several that overlap, and private queues only by an entry
/// that begins so itself.
pub async fn a_binding_gets_the_queues_that_its_entries_mean(trial: &Trial<'_>) {
    let bindings: [(&str, &[&str]); 11] = [
        ("mail", &["mail"]),
        ("mail.*", &["mail.", "mail.a", "mail.b.c", "mail.ß"]),
        ("mail.a,mail.b*", &["mail.a", "mail.b.c"]),
        ("mail.a,mail.*,mail.b.c", &["mail.", "mail.a", "mail.b.c", "mail.ß"]),
        ("mail*", &["mail", "mail-x", "mail.", "mail.a", "mail.b.c", "mail.ß", "mail/", "mails"]),
        ("m,MAIL*", &["MAIL.a", "m"]),
        ("r*", &["r", "red"]),
        ("run:*", &["run:a", "run:ab"]),
        ("run:a,red", &["red", "run:a"]),
        ("nothing*,mail.z*", &[]),
        ("", &["MAIL.a", "m", "mail", "mail-x", "mail.", "mail.a", "mail.b.c", "mail.ß", "mail/", "mails", "r", "red"]),
    ];
    for (text, expected) in bindings {
        let mut jobs: BTreeMap<&str, JobId> = BTreeMap::new();
        for queue in QUEUES {
            jobs.insert(queue, trial.enqueue(plain(queue)).await);
        }
        let mut worker = trial.worker(text).await;
        let mut claimed: Vec<String> = Vec::new();
        for job in worker.take(100).await {
            assert_eq!(Some(&job.id), jobs.get(&*job.queue), "{text:?}");
            worker.settle(&job, completed()).await;
            claimed.push(job.queue);
        }
        claimed.sort();
        assert_eq!(claimed, expected, "{text:?}");
        for queue in QUEUES.iter().filter(|queue| !expected.contains(queue)) {
            trial.store.delete(jobs[queue]).await.expect("nobody has touched it");
        }
    }
}

/// What is left and what is due next is told for the same queues.
pub async fn outstanding_and_the_next_due_job_are_told_by_prefix(trial: &Trial<'_>) {
    let look = async |text: &str| {
        let binding: Binding = text.parse().unwrap();
        let next = trial.store.next_due(&binding).await.unwrap();
        (trial.store.outstanding(&binding).await.unwrap(), next.map(|next| next.as_secs().div_ceil(3600)))
    };
    trial.fill("mail.ready", 1).await;
    trial.fill("mails", 1).await;
    trial.enqueue(plain("mail.later").delay(3 * HOUR)).await;
    trial.enqueue(plain("mail.later.still").delay(5 * HOUR)).await;
    trial.enqueue(plain("mail").delay(HOUR)).await;
    trial.enqueue(plain("run:mail").delay(2 * HOUR)).await;
    trial.suspect(plain("media.held")).await;
    trial.fill("media.running", 1).await;
    trial.worker("media.running").await.take_one().await;

    let nothing = Outstanding::default();
    let ready = Outstanding { ready: true, ..nothing };
    let scheduled = Outstanding { scheduled: true, ..nothing };
    for (text, expected) in [
        ("mail.*", (Outstanding { ready: true, ..scheduled }, Some(3))),
        ("mail.l*", (scheduled, Some(3))),
        ("mail.later.*", (scheduled, Some(5))),
        ("mail.later.*,mail.later", (scheduled, Some(3))),
        ("mail*", (Outstanding { ready: true, ..scheduled }, Some(1))),
        ("mails*", (ready, None)),
        ("media.*", (Outstanding { held: true, running: true, ..nothing }, None)),
        ("media.h*", (Outstanding { held: true, ..nothing }, None)),
        ("r*", (nothing, None)),
        ("run:*", (scheduled, Some(2))),
        ("nothing*", (nothing, None)),
    ] {
        assert_eq!(look(text).await, expected, "{text:?}");
    }
}

/// A queue that is made while the worker runs is served, too, and a suspect in it is told and handed out.
pub async fn a_new_queue_that_begins_so_is_found(trial: &Trial<'_>) {
    let mut worker = trial.worker("mail.*").await;
    let mut claimer = worker.claimer();
    assert_eq!(worker.take_by(&mut *claimer, 10).await, []);
    for queue in ["mail.a", "mail.", "mail.zz"] {
        trial.enqueue(plain("mail").priority(9)).await;
        let id = trial.enqueue(plain(queue)).await;
        let found = eventually("the new queue is found", async || worker.take_by(&mut *claimer, 10).await.pop()).await;
        assert_eq!((found.id, &*found.queue), (id, queue));
        worker.settle(&found, completed()).await;
    }
    let suspect = trial.suspect(plain("mail.deadly")).await;
    trial.suspect(plain("mailed")).await;
    let claimed = worker.next(&[], 10, false).await;
    assert_eq!((ids(&claimed.jobs), claimed.suspects), (vec![], true));
    let claimed = worker.next(&[], 10, true).await;
    assert_eq!((ids(&claimed.jobs), claimed.suspects), (vec![suspect], false));
}

/// However a queue came into the binding, and though two entries mean it: equals are served in turn.
pub async fn queues_of_one_prefix_are_served_in_turn(trial: &Trial<'_>) {
    for (n, entries) in ["*", "a*,b*,c*", "a,a*,b,c*", "*,b"].into_iter().enumerate() {
        let prefix = format!("p{n}.");
        let queues = ["a", "b", "c"].map(|name| format!("{prefix}{name}"));
        for queue in &queues {
            trial.fill(queue, 12).await;
        }
        let text: Vec<String> = entries.split(',').map(|entry| format!("{prefix}{entry}")).collect();
        let mut worker = trial.worker(&text.join(",")).await;
        let mut claimer = worker.claimer();
        let mut served: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..9 {
            let claimed = worker.take_by(&mut *claimer, 2).await;
            assert_eq!(claimed.len(), 2, "{entries:?}");
            for job in claimed {
                *served.entry(job.queue).or_default() += 1;
            }
        }
        for queue in &queues {
            let share = served.get(queue).copied().unwrap_or_default();
            assert!((4..=8).contains(&share), "{entries:?}: about six of eighteen each, but {served:?}");
        }
        // A higher priority still comes before all turns.
        let urgent = trial.enqueue(plain(&queues[2]).priority(1)).await;
        assert_eq!(worker.take_by(&mut *claimer, 1).await[0].id, urgent, "{entries:?}");
    }
}

/// A pause of one of them holds back that one only.
pub async fn a_paused_queue_of_a_prefix_is_passed_over(trial: &Trial<'_>) {
    let paused = trial.enqueue(plain("mail.a").priority(9)).await;
    let open = trial.enqueue(plain("mail.b")).await;
    trial.set_queue("mail.a", crate::store::Setting::Paused(true)).await;
    let mut worker = trial.worker("mail.*").await;
    assert_eq!(ids(&worker.take(10).await), [open]);
    trial.set_queue("mail.a", crate::store::Setting::Paused(false)).await;
    assert_eq!(ids(&worker.take(10).await), [paused]);
}

/// As it was given, entry by entry.
pub async fn a_workers_entries_are_shown_as_it_gave_them(trial: &Trial<'_>) {
    for text in ["mail.*,mail.urgent,media", "run:*", "*", "a*,ab*", "größe.*"] {
        let worker = new_worker(text);
        assert_eq!(trial.store.register(&worker).await.unwrap(), WorkerState::Active);
        let shown = trial.store.workers().await.unwrap();
        let shown = shown.into_iter().find(|shown| shown.boot == worker.boot).expect("it is shown");
        assert_eq!(shown.queues, worker.queues, "{text:?}");
        assert!(trial.store.deregister(worker.boot).await.unwrap());
    }
    // That a worker sleeps or wakes is its own affair: whatever the store makes of it, no claim is lost by it.
    let binding: Binding = "mail.*,media".parse().unwrap();
    let mut worker = trial.worker("mail.*,media").await;
    for asleep in [true, true, false, false] {
        trial.store.sleep(&binding, asleep).await.expect("a worker says whether it sleeps");
        let id = trial.enqueue(plain("mail.x")).await;
        let found = worker.take_one().await;
        assert_eq!(found.id, id);
        worker.settle(&found, completed()).await;
    }
}

/// Where a store can tell that jobs come in, it tells everyone whose binding means their queue.
pub async fn who_listens_hears_of_jobs_in_the_queues_that_its_entries_mean(trial: &Trial<'_>) {
    for (text, queue) in [("mail.*", "mail.a"), ("media", "media"), ("", "any"), ("run:*,x", "run:y")] {
        let binding: Binding = text.parse().unwrap();
        let Some(mut wakes) = trial.store.listen(&binding).await.expect("a store listens or does not") else {
            // Its workers poll.
            return;
        };
        trial.store.sleep(&binding, true).await.unwrap();
        let mut worker = trial.worker(text).await;
        let claimed = worker.next(&[], 1, false).await;
        assert!(claimed.jobs.is_empty());
        assert!(claimed.asleep, "{text:?}: a claim says that its workers sleep");
        let other = trial.another_handle().await;
        let job = plain(queue);
        let told = async {
            other.enqueue(&[job]).await.expect("the job is taken in");
            other.flush().await.expect("what is to be told is told");
        };
        let heard = tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(wakes.next(), told) });
        heard.await.unwrap_or_else(|_| panic!("{text:?} hears of a job in {queue}"));
        assert_eq!(worker.take(10).await.len(), 1);
        trial.store.sleep(&binding, false).await.unwrap();
    }
}
