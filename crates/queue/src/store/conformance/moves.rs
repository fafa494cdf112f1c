//! The state machine: every operation on a job in every state, against the table.
//!
//! The legal outcome of each operation is read from [`State::MOVES`]; what is not there must be refused and change
//! nothing. What no operation on a job by its id brings about is listed in `LATER`: the moves of a replacement, which
//! [`coalescing`](super::coalescing) makes.

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use super::trial::{
    HOUR, Hand, Trial, again, broken, cancelled, completed, done, end, failed, fold, interrupt, kept, park, park_for,
    plain, resolutions, retry, snooze, verdicts,
};
use crate::{
    AttemptOutcome, Error, Expiry, JobId, NewJob, Resolution, Secret, State,
    limits::MAX_ATTEMPTS,
    store::{Cancel, ClaimedJob, Filter, Resolve, Token, Verdict},
};

/// The moves of the table that no operation here makes.
const LATER: [&str; 1] = ["replace while coalescing"];

/// A way to bring a job into its state.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Delayed,
    WaitingToRetry,
    Snoozed,
    AnsweredWithRetry,
    Enqueued,
    Promoted,
    GivenBack,
    RetriedByHand,
    Suspect,
    Unanswered,
    Running,
    /// Running, and somebody may answer for it.
    HandedOver,
    Parked,
    ParkedForLonger,
    Kept,
    Answered,
    FailedForGood,
    AnsweredWithFailure,
    UnansweredToTheEnd,
    CancelledWhileScheduled,
    CancelledWhileQueued,
    CancelledWhileRunning,
    CancelledWhileParked,
}

/// What is tried on it.
#[derive(Debug, Clone)]
enum Operation {
    Claim,
    Promote,
    Cancel,
    Retry,
    Delete,
    /// A settlement by the last attempt's own token.
    Settle(Verdict, Option<State>),
    /// A settlement by a token that is not the attempt's.
    SettleBy(Wrong, Verdict),
    /// An answer by the last attempt's secret.
    Resolve(Resolution, State),
    /// An answer by a secret that is not the attempt's.
    ResolveBy(Secret, Resolution),
    /// A look for waits that are over.
    Expire,
}

#[derive(Debug, Clone, Copy)]
enum Wrong {
    Claim,
    Worker,
}

/// A job on its stage.
struct Staged {
    id: JobId,
    worker: Hand,
    /// Its last attempt, or one that never was.
    attempt: Token,
    /// Its last attempt's secret, if it had one.
    secret: Option<Secret>,
}

impl Staged {
    async fn set(trial: &Trial<'_>, stage: Stage, queue: &str) -> Self {
        let mut worker = trial.worker(queue).await;
        let delayed = matches!(stage, Stage::Delayed | Stage::CancelledWhileScheduled);
        let job = if delayed {
            plain(queue).delay(HOUR)
        } else if matches!(stage, Stage::Promoted) {
            plain(queue).delay(Duration::from_millis(1))
        } else {
            plain(queue)
        };
        let id = trial.enqueue(job).await;
        let mut attempt = Token { boot: worker.boot, claim: 1 };
        let claimed = match stage {
            Stage::Suspect => {
                trial.make_suspect(queue, id).await;
                None
            }
            Stage::Delayed
            | Stage::Enqueued
            | Stage::Promoted
            | Stage::CancelledWhileScheduled
            | Stage::CancelledWhileQueued => None,
            _ => {
                let claimed = worker.take_one().await;
                attempt = claimed.token;
                Some(claimed)
            }
        };
        let secret = match &claimed {
            Some(job) if !matches!(stage, Stage::Running) => Some(worker.callback(job).await),
            _ => None,
        };
        let answer = async |resolution| {
            let secret = secret.as_ref().expect("it was handed over");
            assert_eq!(trial.store.resolve(id, secret, &resolution).await.expect("it waits"), Resolve::Done);
        };
        let settle = async |verdict| worker.settle(claimed.as_ref().expect("it was claimed"), verdict).await;
        match stage {
            Stage::Delayed | Stage::Enqueued | Stage::Suspect | Stage::Running | Stage::HandedOver => {}
            Stage::Promoted => trial.until_promoted(id).await,
            Stage::WaitingToRetry => settle(retry(HOUR)).await,
            Stage::Snoozed => settle(snooze(HOUR)).await,
            Stage::GivenBack => settle(Verdict::Return).await,
            Stage::Kept => settle(kept("done")).await,
            Stage::FailedForGood => settle(failed()).await,
            Stage::RetriedByHand => {
                settle(failed()).await;
                trial.store.retry(id).await.expect("a failed job is retried");
            }
            Stage::Parked => settle(park()).await,
            Stage::ParkedForLonger | Stage::Answered | Stage::AnsweredWithFailure | Stage::AnsweredWithRetry => {
                settle(park()).await;
                answer(match stage {
                    Stage::ParkedForLonger => Resolution::StillWaiting(2 * HOUR),
                    Stage::Answered => done("by them"),
                    Stage::AnsweredWithFailure => broken(),
                    _ => again(None),
                })
                .await;
            }
            Stage::Unanswered | Stage::UnansweredToTheEnd => {
                let expiry = if matches!(stage, Stage::Unanswered) { Expiry::Retry } else { Expiry::Fail };
                settle(park_for(Duration::from_millis(1), expiry)).await;
                trial.until_expired(id).await;
            }
            Stage::CancelledWhileParked => {
                settle(park()).await;
                assert_eq!(trial.store.cancel(id).await.expect("a parked job is cancelled"), Cancel::Done);
            }
            Stage::CancelledWhileScheduled | Stage::CancelledWhileQueued => {
                assert_eq!(trial.store.cancel(id).await.expect("a waiting job is cancelled"), Cancel::Done);
            }
            Stage::CancelledWhileRunning => {
                assert_eq!(trial.store.cancel(id).await.expect("a running job is cancelled"), Cancel::Asked);
                settle(cancelled()).await;
            }
        }
        Self { id, worker, attempt, secret }
    }

    async fn settle(&mut self, token: Token, verdict: Verdict) {
        let settlement = crate::store::Settlement { id: self.id, token, verdict, ran: Duration::from_millis(1) };
        self.worker.settle_all(&[settlement]).await;
    }
}

/// What an operation makes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Legal {
    /// It is moved.
    To(State),
    /// It goes: deleted, or completed and not kept.
    Gone,
    /// It stays as it is.
    Refused,
}

/// What the table allows. `open`: somebody may answer for the job.
fn legal(from: State, open: bool, operation: &Operation) -> Legal {
    let may = |to: State, by: &'static str| {
        if State::MOVES.contains(&(Some(from), to, by)) { Legal::To(to) } else { Legal::Refused }
    };
    match operation {
        Operation::Claim => may(State::Running, "claim"),
        // It is only asked for: its worker cancels it.
        Operation::Cancel if from == State::Running => Legal::To(State::Running),
        Operation::Cancel => may(State::Cancelled, "cancel"),
        Operation::Retry => may(State::Queued, "retry by hand"),
        Operation::Delete if from != State::Running => Legal::Gone,
        Operation::Settle(_, Some(to)) if from == State::Running && from.may_become(*to) => Legal::To(*to),
        Operation::Settle(_, None) if from == State::Running && from.may_become(State::Completed) => Legal::Gone,
        // It is only noted: it moves the job when it is parked.
        Operation::Resolve(..) if from == State::Running && open => Legal::To(State::Running),
        Operation::Resolve(_, to) if from == State::WaitAsync && from.may_become(*to) => Legal::To(*to),
        // Nothing here is due.
        Operation::Promote
        | Operation::Expire
        | Operation::Delete
        | Operation::Settle(..)
        | Operation::SettleBy(..)
        | Operation::Resolve(..)
        | Operation::ResolveBy(..) => Legal::Refused,
    }
}

fn operations() -> Vec<Operation> {
    let mut operations =
        vec![Operation::Claim, Operation::Promote, Operation::Cancel, Operation::Retry, Operation::Delete];
    for (verdict, to) in verdicts() {
        operations.push(Operation::SettleBy(Wrong::Claim, verdict.clone()));
        operations.push(Operation::SettleBy(Wrong::Worker, verdict.clone()));
        operations.push(Operation::Settle(verdict, to));
    }
    for (resolution, to) in resolutions() {
        operations.push(Operation::ResolveBy(Secret::random(), resolution.clone()));
        operations.push(Operation::Resolve(resolution, to));
    }
    operations.push(Operation::Expire);
    operations
}

/// Tries every operation on a job at each of the stages, and compares with the table.
async fn check(trial: &Trial<'_>, from: State, stages: &[Stage]) {
    let mut reached = BTreeSet::new();
    for &stage in stages {
        for operation in operations() {
            reached.extend(attempt(trial, from, stage, &operation).await);
        }
    }
    // What is due needs time to pass, so a promotion is a stage instead of an operation, and so is an expiry.
    let due = match from {
        State::Scheduled => Some(Stage::Promoted),
        State::WaitAsync => Some(Stage::Unanswered),
        _ => None,
    };
    if let Some(stage) = due {
        let staged = Staged::set(trial, stage, "due").await;
        reached.insert(trial.state(staged.id).await);
    }
    let table = State::MOVES.iter().filter(|&&(f, _, by)| f == Some(from) && !LATER.contains(&by));
    let table: BTreeSet<State> = table.map(|&(_, to, _)| to).collect();
    // A job that runs goes on running when it is cancelled or answered for: no move, though it is legal.
    if from == State::Running {
        reached.remove(&from);
    }
    assert_eq!(reached, table, "the moves that were seen from {from}, and those of the table");

    fold(&*trial.store).await;
    assert_eq!(trial.store.audit().await.expect("an audit passes"), [], "the counters followed every move");
}

/// Tries one operation on a new job at this stage. Returns the state that it moved to.
async fn attempt(trial: &Trial<'_>, from: State, stage: Stage, operation: &Operation) -> Option<State> {
    let what = format!("{operation:?} on a job that is {stage:?}");
    // A queue of its own, so that a claim takes this job and no other.
    let queue = format!("q{}", trial.enqueue(plain("numbers")).await);
    let mut staged = Staged::set(trial, stage, &queue).await;
    let before = trial.job(staged.id).await;
    assert_eq!(before.state, from, "the stage {stage:?}");
    let attempts = trial.store.attempts(staged.id).await.unwrap();

    let error = perform(trial, &mut staged, operation).await;

    let after = trial.find(staged.id).await;
    let open = staged.secret.is_some() && matches!(from, State::Running | State::WaitAsync);
    let legal = legal(from, open, operation);
    if legal == Legal::Refused {
        assert_eq!(after.as_ref(), Some(&before), "{what}: changed the job");
        assert_eq!(trial.store.attempts(staged.id).await.unwrap(), attempts, "{what}: changed its attempts");
        let by_hand = matches!(operation, Operation::Cancel | Operation::Retry | Operation::Delete);
        if by_hand || matches!(operation, Operation::Resolve(..) | Operation::ResolveBy(..)) {
            let named = match error {
                Some(Error::WrongState { id, state, .. }) => (id, state) == (staged.id, from) && (by_hand || !open),
                Some(Error::WrongSecret(id)) => id == staged.id && !by_hand && open,
                _ => false,
            };
            assert!(named, "{what}: the error names the job and its state, not {error:?}");
            return None;
        }
    }
    assert!(error.is_none(), "{what}: {error:?}");
    match legal {
        Legal::To(to) => {
            assert_eq!(after.map(|job| job.state), Some(to), "{what}");
            Some(to)
        }
        Legal::Gone => {
            assert_eq!(after, None, "{what}");
            matches!(operation, Operation::Settle(..)).then_some(State::Completed)
        }
        Legal::Refused => None,
    }
}

/// Performs the operation. Returns why it was refused, where it says so.
async fn perform(trial: &Trial<'_>, staged: &mut Staged, operation: &Operation) -> Option<Error> {
    match operation.clone() {
        Operation::Claim => {
            staged.worker.next(&[], 1, true).await;
            None
        }
        Operation::Promote => trial.store.promote(100).await.err(),
        Operation::Cancel => trial.store.cancel(staged.id).await.err(),
        Operation::Retry => trial.store.retry(staged.id).await.err(),
        Operation::Delete => trial.store.delete(staged.id).await.err(),
        Operation::Settle(verdict, _) => {
            staged.settle(staged.attempt, verdict).await;
            None
        }
        Operation::Resolve(resolution, _) => {
            // Where nobody was given one, it is any.
            let secret = staged.secret.clone().unwrap_or_else(Secret::random);
            trial.store.resolve(staged.id, &secret, &resolution).await.err()
        }
        Operation::ResolveBy(secret, resolution) => trial.store.resolve(staged.id, &secret, &resolution).await.err(),
        Operation::Expire => trial.store.expire(100).await.err(),
        Operation::SettleBy(wrong, verdict) => {
            let Token { boot, claim } = staged.attempt;
            let token = match wrong {
                Wrong::Claim => Token { boot, claim: claim + 1 },
                Wrong::Worker => Token { boot: crate::store::BootId::random(), claim },
            };
            staged.settle(token, verdict).await;
            None
        }
    }
}

/// A scheduled job is promoted when due or cancelled, and nothing else.
pub async fn a_scheduled_job_makes_only_the_moves_of_the_table(trial: &Trial<'_>) {
    let stages = [Stage::Delayed, Stage::WaitingToRetry, Stage::Snoozed, Stage::AnsweredWithRetry];
    check(trial, State::Scheduled, &stages).await;
}

/// A queued job is claimed or cancelled, and nothing else.
pub async fn a_queued_job_makes_only_the_moves_of_the_table(trial: &Trial<'_>) {
    let stages =
        [Stage::Enqueued, Stage::Promoted, Stage::GivenBack, Stage::RetriedByHand, Stage::Suspect, Stage::Unanswered];
    check(trial, State::Queued, &stages).await;
}

/// A running job goes where its own attempt's verdict sends it.
pub async fn a_running_job_makes_only_the_moves_of_the_table(trial: &Trial<'_>) {
    check(trial, State::Running, &[Stage::Running, Stage::HandedOver]).await;
}

/// A parked job goes where an answer by its secret sends it, back when nobody answers, or where a person says.
pub async fn a_parked_job_makes_only_the_moves_of_the_table(trial: &Trial<'_>) {
    check(trial, State::WaitAsync, &[Stage::Parked, Stage::ParkedForLonger]).await;
}

/// A completed job never moves again.
pub async fn a_completed_job_makes_only_the_moves_of_the_table(trial: &Trial<'_>) {
    check(trial, State::Completed, &[Stage::Kept, Stage::Answered]).await;
}

/// A failed job moves only by hand.
pub async fn a_failed_job_makes_only_the_moves_of_the_table(trial: &Trial<'_>) {
    check(trial, State::Failed, &[Stage::FailedForGood, Stage::AnsweredWithFailure, Stage::UnansweredToTheEnd]).await;
}

/// A cancelled job moves only by hand.
pub async fn a_cancelled_job_makes_only_the_moves_of_the_table(trial: &Trial<'_>) {
    let stages = [
        Stage::CancelledWhileScheduled,
        Stage::CancelledWhileQueued,
        Stage::CancelledWhileRunning,
        Stage::CancelledWhileParked,
    ];
    check(trial, State::Cancelled, &stages).await;
}

/// What was never enqueued is not found, and no settlement of it does harm.
pub async fn an_unknown_job_is_named_as_such_and_moved_by_nothing(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q")).await;
    let job = worker.take_one().await;
    let before = trial.job(id).await;
    let unknown = JobId(id.0 + 1_000_000);
    for refused in [
        trial.store.cancel(unknown).await.map(drop),
        trial.store.retry(unknown).await,
        trial.store.delete(unknown).await,
        trial.store.resolve(unknown, &Secret::random(), &done("")).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::NotFound(id)) if id == unknown), "{refused:?}");
    }
    assert_eq!(trial.find(unknown).await, None);
    assert_eq!(trial.store.attempts(unknown).await.unwrap(), []);
    for (verdict, _) in verdicts() {
        worker.settle(&ClaimedJob { id: unknown, ..job.clone() }, verdict).await;
    }
    assert_eq!(trial.find(unknown).await, None);
    assert_eq!(trial.job(id).await, before);
}

/// A cancel of a running job is told to its worker, who ends it; the attempt's record says so.
pub async fn a_cancelled_running_job_goes_on_until_its_worker_ends_it(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q")).await;
    let job = worker.take_one().await;
    let before = trial.job(id).await;
    assert_eq!(trial.store.cancel(id).await.unwrap(), Cancel::Asked);
    assert_eq!(trial.store.cancel(id).await.unwrap(), Cancel::Asked, "asking again does no harm");
    assert_eq!(trial.job(id).await, before, "until its worker knows, nothing changes");

    worker.settle(&job, cancelled()).await;
    let after = trial.job(id).await;
    assert_eq!(after.state, State::Cancelled);
    assert!(after.finished_at.is_some());
    let attempts = trial.store.attempts(id).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome, AttemptOutcome::Cancelled);
    assert_eq!(attempts[0].error, "someone cancelled it");

    // One that came to its end before it heard of the cancel has come to its end.
    for (verdict, state) in [(kept("done"), State::Completed), (failed(), State::Failed)] {
        let id = trial.enqueue(plain("q")).await;
        let job = worker.take_one().await;
        assert_eq!(trial.store.cancel(id).await.unwrap(), Cancel::Asked);
        worker.settle(&job, verdict).await;
        trial.assert_state(id, state).await;
    }
    let gone = trial.enqueue(plain("q")).await;
    let job = worker.take_one().await;
    assert_eq!(trial.store.cancel(gone).await.unwrap(), Cancel::Asked);
    worker.settle(&job, completed()).await;
    assert_eq!(trial.find(gone).await, None);
}

/// A job that someone cancelled while it ran does not run again, whatever its worker says.
pub async fn after_a_cancel_no_verdict_brings_a_running_job_back(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for verdict in [retry(Duration::ZERO), snooze(Duration::ZERO), park(), Verdict::Return, interrupt()] {
        let id = trial.enqueue(plain("q")).await;
        let job = worker.take_one().await;
        assert_eq!(trial.store.cancel(id).await.unwrap(), Cancel::Asked);
        worker.settle(&job, verdict.clone()).await;
        let after = trial.job(id).await;
        assert_eq!(after.state, State::Cancelled, "{verdict:?}");
        assert!(after.finished_at.is_some(), "{verdict:?}");
    }
    assert_eq!(worker.take(10).await, []);

    // A beat that gives back what was lost on the way does not bring it back either.
    let id = trial.enqueue(plain("q")).await;
    worker.take_one().await;
    assert_eq!(trial.store.cancel(id).await.unwrap(), Cancel::Asked);
    worker.beat(&[], &[]).await;
    trial.assert_state(id, State::Cancelled).await;
}

/// A person's retry clears every count, and gives the job no place before those that wait already.
pub async fn a_manual_retry_starts_afresh_behind_those_that_wait(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q").max_attempts(2)).await;
    // A death and an interruption are counted, and both its attempts are spent.
    let job = worker.take_one().await;
    trial.dies(&worker, &[&job], &[&job]).await;
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    worker.settle(&job, interrupt()).await;
    let job = worker.take_one().await;
    assert_eq!((job.deaths, job.interruptions), (1, 2));
    worker.settle(&job, retry(Duration::ZERO)).await;
    trial.until_promoted(id).await;
    let job = worker.take_one().await;
    assert_eq!(job.attempt, 2);
    worker.settle(&job, failed()).await;
    assert_eq!(trial.job(id).await.attempt, 2);

    let waiting = trial.enqueue(plain("q")).await;
    let asked_at = trial.now().await;
    trial.store.retry(id).await.unwrap();

    let after = trial.job(id).await;
    assert_eq!(after.state, State::Queued);
    assert_eq!((after.attempt, after.interruptions, after.deaths), (0, 0, 0));
    assert_eq!(after.finished_at, None);
    assert!(after.ready_at.unwrap() >= asked_at);
    let first = worker.take_one().await;
    let second = worker.take_one().await;
    assert_eq!((first.id, second.id), (waiting, id));
    assert_eq!((second.attempt, second.interruptions, second.deaths), (1, 0, 0));
    worker.settle(&second, kept("done")).await;
    trial.assert_state(id, State::Completed).await;
}

/// A deleted job is nowhere: not shown, not claimed, not promoted, its attempts gone.
pub async fn a_deleted_job_leaves_nothing_behind(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let large = format!("\"{}\"", "x".repeat(10_000));
    let failing = trial.enqueue(NewJob::new("kind", large.clone()).queue("q")).await;
    let job = worker.take_one().await;
    worker.settle(&job, failed()).await;
    assert_eq!(trial.store.attempts(failing).await.unwrap().len(), 1);
    let queued = trial.enqueue(NewJob::new("kind", large).queue("q")).await;
    let scheduled = trial.enqueue(plain("q").delay(Duration::from_millis(1))).await;

    for id in [failing, queued, scheduled] {
        trial.store.delete(id).await.unwrap();
        assert_eq!(trial.find(id).await, None);
        assert_eq!(trial.store.attempts(id).await.unwrap(), []);
        assert!(matches!(trial.store.delete(id).await, Err(Error::NotFound(unknown)) if unknown == id));
    }
    assert_eq!(trial.jobs(&Filter::default()).await, []);
    trial.until_past(trial.now().await + Duration::from_millis(2)).await;
    assert_eq!(trial.store.promote(10).await.unwrap().jobs, 0);
    assert_eq!(worker.take(10).await, []);
}

/// While jobs go round between claim, give-back, snooze, promotion, park and expiry, whoever looks for one by its id finds it, in one
/// place; a move that is not legal is refused by the name of its state, and a cancel takes hold however fast it moves.
pub async fn moves_by_id_never_lose_sight_of_a_job_that_others_move(trial: &Trial<'_>) {
    let jobs = vec![plain("q").max_attempts(MAX_ATTEMPTS); 40];
    let ids: Vec<JobId> =
        trial.store.enqueue(&jobs).await.expect("the jobs are taken in").iter().map(|e| e.id).collect();
    let over = Cell::new(false);
    let looking = async {
        for &id in &ids {
            for _ in 0..3 {
                assert!(trial.find(id).await.is_some(), "the job is somewhere");
                match trial.store.retry(id).await {
                    Err(Error::WrongState { id: named, .. }) => assert_eq!(named, id),
                    other => panic!("a retry of an unfinished job gave {other:?}"),
                }
                match trial.store.resolve(id, &Secret::random(), &done("guessed")).await {
                    Err(Error::WrongState { id: named, .. } | Error::WrongSecret(named)) => assert_eq!(named, id),
                    other => panic!("a guess at an unfinished job's secret gave {other:?}"),
                }
            }
            let listed = trial.jobs(&Filter::default()).await.len();
            assert_eq!(listed, ids.len(), "each job is in one place");
            trial.store.cancel(id).await.unwrap_or_else(|error| panic!("a cancel of an unfinished job gave {error:?}"));
        }
        over.set(true);
    };
    tokio::join!(looking, go_round(trial, &over), go_round(trial, &over), go_round(trial, &over));
    for id in ids {
        trial.assert_state(id, State::Cancelled).await;
    }
}

/// Claims a few, gives them back, puts them off for no time or parks them for a moment, and brings them back, until it is over and nothing is left.
async fn go_round(trial: &Trial<'_>, over: &Cell<bool>) {
    let binding = "q".parse().expect("a binding");
    let mut worker = trial.worker("q").await;
    for round in 0.. {
        let claimed = worker.take(4).await;
        let verdict = |n: usize| match (n + round) % 3 {
            0 => Verdict::Return,
            1 => snooze(Duration::ZERO),
            _ => park_for(Duration::from_millis(1), Expiry::Retry),
        };
        let settled: Vec<_> = claimed.iter().enumerate().map(|(n, job)| end(job, verdict(n))).collect();
        worker.settle_all(&settled).await;
        trial.store.promote(10).await.expect("a promotion passes");
        trial.store.expire(10).await.expect("an expiry passes");
        if over.get() && trial.store.outstanding(&binding).await.expect("an exact look").is_empty() {
            break;
        }
    }
}
