//! What waits for a worker, and what is known of the future: the scheduled jobs that fall due soon.

use std::time::Duration;

use super::trial::{HOUR, Trial, completed, plain};
use crate::{
    NewJob,
    store::{Known, Setting, Waiting},
};

async fn known(trial: &Trial<'_>, queues: &str, within: Duration) -> Vec<Known> {
    let asked = [(queues.parse().expect("a binding"), within)];
    trial.store.known(&asked).await.expect("what is known is shown").remove(0)
}

fn total(known: &[Known]) -> u64 {
    known.iter().map(|known| known.count).sum()
}

/// Each job in the step by whose end it is due, steps of equal length, those without a job left out.
pub async fn scheduled_jobs_are_counted_by_when_they_fall_due(trial: &Trial<'_>) {
    assert_eq!(known(trial, "q", HOUR).await, []);
    trial.fill("q", 3).await;
    assert_eq!(known(trial, "q", HOUR).await, [], "what is claimable is not to come");
    let minutes = [5, 5, 20, 20, 20, 59, 70];
    let mut due = Vec::new();
    for minutes in minutes {
        let id = trial.enqueue(plain("q").delay(Duration::from_mins(minutes))).await;
        due.push(trial.job(id).await.run_at);
    }
    let before = trial.now().await;
    let steps = known(trial, "q", HOUR).await;
    let after = trial.now().await;
    assert_eq!(total(&steps), 6, "what falls due later is left out");
    assert!(steps.len() <= 60 && steps.iter().all(|step| step.count > 0), "{steps:?}");
    assert!(steps.windows(2).all(|pair| pair[0].at < pair[1].at), "in order: {steps:?}");
    let step = HOUR / 60 + (after - before).to_std().expect("the clock goes on");
    for (i, known) in steps.iter().enumerate() {
        assert!(known.at <= after + HOUR, "{known:?}");
        let by_then = due.iter().filter(|due| **due <= known.at).count() as u64;
        assert_eq!(total(&steps[..=i]), by_then, "those due by then are counted by then");
        let in_step = due.iter().any(|due| *due <= known.at && *due + step >= known.at);
        assert!(in_step, "a step is a sixtieth: {known:?} of {due:?}");
    }
}

/// However many there are and however long the time.
pub async fn there_are_at_most_sixty_steps(trial: &Trial<'_>) {
    let jobs: Vec<NewJob> = (1..=300).map(|n| plain("q").delay(Duration::from_secs(20 * n))).collect();
    trial.store.enqueue(&jobs).await.unwrap();
    let steps = known(trial, "q", 2 * HOUR).await;
    assert_eq!(total(&steps), 300);
    // They fill 100 minutes of 120, which are steps of 2 minutes.
    assert!((45..=60).contains(&steps.len()), "{} steps", steps.len());
    let few = known(trial, "q", Duration::from_secs(50)).await;
    assert_eq!(total(&few), 2);
}

/// It is as good as claimable.
pub async fn what_is_overdue_comes_first(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q").delay(Duration::from_millis(1))).await;
    trial.enqueue(plain("q").delay(HOUR / 2)).await;
    trial.until_past(trial.job(id).await.run_at).await;
    let now = trial.now().await;
    let steps = known(trial, "q", HOUR).await;
    assert_eq!(steps.iter().map(|step| step.count).collect::<Vec<_>>(), [1, 1]);
    assert!(steps[0].at <= now + HOUR / 30, "in the first step: {steps:?}");
    assert_eq!(total(&known(trial, "q", Duration::ZERO).await), 1);
    trial.store.promote(10).await.unwrap();
    assert_eq!(total(&known(trial, "q", HOUR).await), 1);
}

/// By name and by prefix, each queue once.
pub async fn only_the_queues_that_were_asked_for_count(trial: &Trial<'_>) {
    for queue in ["mail.a", "mail.b", "media", "run:mine"] {
        trial.enqueue(plain(queue).delay(HOUR / 2)).await;
    }
    for (queues, count) in
        [("mail.*", 2), ("mail.*,mail.a,media", 3), ("media", 1), ("other", 0), ("", 3), ("run:*", 1)]
    {
        assert_eq!(total(&known(trial, queues, HOUR).await), count, "{queues:?}");
    }
}

/// What nobody may claim is no work to come.
pub async fn paused_queues_and_kinds_are_left_out(trial: &Trial<'_>) {
    let later = |kind: &str, queue: &str| NewJob::new(kind, "{}").queue(queue).delay(HOUR / 2);
    trial.store.enqueue(&[later("a", "q"), later("b", "q"), later("a", "p"), later("b", "p")]).await.unwrap();
    assert_eq!(total(&known(trial, "q,p", HOUR).await), 4);
    trial.set_queue("p", Setting::Paused(true)).await;
    assert_eq!(total(&known(trial, "q,p", HOUR).await), 2);
    trial.set_kind("b", Setting::Paused(true)).await;
    assert_eq!(total(&known(trial, "q,p", HOUR).await), 1);
    trial.set_queue("p", Setting::Paused(false)).await;
    assert_eq!(total(&known(trial, "q,p", HOUR).await), 2);
    trial.set_kind("b", Setting::Paused(false)).await;
    assert_eq!(total(&known(trial, "q,p", HOUR).await), 4);
}

/// Each with its own time, and one without a job in its place.
pub async fn several_bindings_are_asked_at_once(trial: &Trial<'_>) {
    for (queue, delay) in [("mail.a", HOUR / 2), ("mail.b", HOUR / 2), ("media", HOUR / 4), ("media", HOUR / 2)] {
        trial.enqueue(plain(queue).delay(delay)).await;
    }
    let asked = [("media", HOUR), ("other", HOUR), ("mail.*,media", HOUR), ("media", HOUR / 3), ("mail.a", HOUR)];
    let asked = asked.map(|(queues, within)| (queues.parse().expect("a binding"), within));
    let known = trial.store.known(&asked).await.expect("what is known is shown");
    assert_eq!(known.iter().map(|known| total(known)).collect::<Vec<_>>(), [2, 0, 4, 1, 1]);
    assert!(trial.store.known(&[]).await.expect("nothing is asked").is_empty());
}

/// What a worker could start: not what runs, what waits for something else, or what falls due later.
pub async fn what_a_worker_could_start_is_told_for_each_binding(trial: &Trial<'_>) {
    trial.fill("ready", 2).await;
    let due = trial.enqueue(plain("due").delay(Duration::from_millis(1))).await;
    trial.until_past(trial.job(due).await.run_at).await;
    trial.enqueue(plain("scheduled").delay(HOUR)).await;
    trial.suspect(plain("suspect")).await;
    trial.fill("running", 1).await;
    trial.worker("running").await.take_one().await;
    trial.enqueue(NewJob::new("odd", "{}").queue("paused")).await;
    trial.set_kind("odd", Setting::Paused(true)).await;
    trial.release_all().await;

    let ready = Waiting { ready: true, ..Waiting::default() };
    let expected = [
        ("ready", ready),
        ("due", Waiting { due: true, ..Waiting::default() }),
        ("scheduled", Waiting::default()),
        ("suspect", Waiting { suspects: true, ..Waiting::default() }),
        ("running", Waiting::default()),
        ("never-used", Waiting::default()),
        ("re*, du*, scheduled", Waiting { due: true, ..ready }),
        ("", Waiting { ready: true, due: true, suspects: true }),
    ];
    let asked = expected.map(|(queues, _)| queues.parse().expect("a binding"));
    let waiting = trial.store.waiting(&asked).await.expect("an exact look");
    assert_eq!(waiting, expected.map(|(_, waiting)| waiting));
    assert_eq!(trial.store.waiting(&[]).await.expect("nothing is asked"), []);
}

/// Whoever holds them, and until they end.
pub async fn what_has_run_for_a_while_is_told_with_its_kind_and_its_worker(trial: &Trial<'_>) {
    let look = async |age| trial.store.long_runs(age).await.expect("what runs is shown");
    trial.fill("q", 1).await;
    assert_eq!(look(Duration::ZERO).await, []);
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    trial.enqueue(NewJob::new("odd", "{}").queue("p")).await;
    let mut other = trial.worker("p").await;
    let odd = other.take_one().await;
    let began = odd.started_at;
    trial.until_past(began + Duration::from_millis(20)).await;

    let mut runs = look(Duration::from_millis(10)).await;
    runs.sort_by_key(|run| run.kind != job.kind);
    let told: Vec<_> = runs.iter().map(|run| (run.boot, run.kind.as_str())).collect();
    assert_eq!(told, [(job.token.boot, job.kind.as_str()), (odd.token.boot, "odd")]);
    assert!(runs.iter().all(|run| run.age >= Duration::from_millis(10) && run.age < HOUR), "{runs:?}");
    assert_eq!(look(HOUR).await, []);
    worker.settle(&job, completed()).await;
    assert_eq!(look(Duration::ZERO).await.len(), 1);
}

/// A store that has connections says how many it bears and how many there are, one of which is the asker's.
pub async fn connections_are_shown_where_there_are_any(trial: &Trial<'_>) {
    if let Some(connections) = trial.store.connections().await.expect("it answers") {
        assert!(connections.max > 0 && connections.used > 0, "{connections:?}");
    }
}
