//! What a history ought to have counted, and the counters against it and against a recount of what is there.

use super::trial::{Trial, plain};
use crate::{Coalesce, Depth, Flow, JobRecord, QueueState, State};

/// The run time that each settlement of the suite names, in milliseconds.
pub(super) const RAN_MS: i64 = 7;

/// The counts of one queue that a model is sure of, and how many it is not.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) flow: Flow,
    /// Attempts that failed on a job that someone had cancelled by then: they end it as cancelled, and may be counted as
    /// failed or not.
    pub(super) overruled: i64,
    /// Attempts that parked a job that someone had cancelled by then: their run may be counted or not.
    pub(super) in_vain: i64,
    /// Enqueues that changed or followed another job: they may be counted as an arrival, at once or once claimable.
    pub(super) coalesced: i64,
}

impl Expected {
    /// Whether the queue, with these jobs in it, shows what is there and what happened.
    pub(super) fn agrees(&self, jobs: &[JobRecord], shown: Option<&QueueState>) -> Result<(), String> {
        let Some(shown) = shown else {
            let nothing = jobs.is_empty() && self.flow == Flow::default();
            return if nothing { Ok(()) } else { Err("it is not listed".into()) };
        };
        let recount = recount(jobs);
        if shown.depth != recount {
            return Err(format!("the counters show {:?}, a recount {recount:?}", shown.depth));
        }
        for lane in &shown.lanes {
            let own = jobs.iter().filter(|job| (job.priority, &job.kind) == (lane.priority, &lane.kind));
            let recount = self::recount(own);
            if lane.depth != recount {
                return Err(format!("the lane {lane:?} has in truth {recount:?}"));
            }
        }
        let mut flow = self.flow.clone();
        flow.late = shown.flow.late;
        let overruled = shown.flow.failed - flow.failed;
        if (0..=self.overruled).contains(&overruled) {
            flow.failed = shown.flow.failed;
            flow.run_ms += overruled * RAN_MS;
        }
        let in_vain = shown.flow.run_ms - flow.run_ms;
        if (0..=self.in_vain * RAN_MS).contains(&in_vain) && in_vain % RAN_MS == 0 {
            flow.run_ms = shown.flow.run_ms;
        }
        // An enqueue that coalesced is an arrival to some and a change to others, but nothing else.
        let mut coalesced = 0;
        for (own, shown) in [
            (&mut flow.arrived, shown.flow.arrived),
            (&mut flow.deferred, shown.flow.deferred),
            (&mut flow.promoted, shown.flow.promoted),
        ] {
            coalesced += (shown - *own).abs();
            *own = shown;
        }
        if coalesced > 2 * self.coalesced {
            return Err(format!("{coalesced} more came in than {} that coalesced", self.coalesced));
        }
        if shown.flow == flow {
            return Ok(());
        }
        Err(format!("the flows show\n{:?}, and this happened\n{flow:?}", shown.flow))
    }
}

/// Each key is free, or held by a job that is there and not over; and whoever waits for a key waits for such a job.
pub(super) async fn keys_are_held_by_jobs_that_are_there(
    trial: &Trial<'_>,
    queues: &[String],
    keys: &[&str],
) -> Result<(), String> {
    for queue in queues {
        for &key in keys {
            let own: Vec<JobRecord> =
                trial.jobs_of(queue).await.into_iter().filter(|job| job.key.as_deref() == Some(key)).collect();
            let waiting = own.iter().filter(|job| job.reason.as_deref() == Some("again")).count();
            if waiting > 1 {
                return Err(format!("{waiting} jobs wait for {key} of {queue}"));
            }
            let probe = plain(queue).key(key).coalesce(Coalesce::DEFAULT);
            let answer = trial.admit(probe).await;
            let holder = trial.find(answer.id).await.map(|job| (job.state, job.reason));
            if answer.is_new() {
                if waiting > 0 {
                    return Err(format!("a job waits for {key} of {queue}, which is free"));
                }
                trial.store.delete(answer.id).await.map_err(|error| error.to_string())?;
            } else if !matches!(&holder, Some((state, reason))
                if !matches!(state, State::Completed | State::Cancelled) && reason.as_deref() != Some("again"))
            {
                return Err(format!("{key} of {queue} is held by job {}, which is {holder:?}", answer.id));
            }
        }
    }
    Ok(())
}

/// Where these jobs stand. A queued job that is held says what holds it back.
pub(super) fn recount<'j>(jobs: impl IntoIterator<Item = &'j JobRecord>) -> Depth {
    let mut depth = Depth::default();
    for job in jobs {
        depth.suspects += i64::from(job.reason.as_deref() == Some("suspect"));
        *match job.state {
            State::Queued if job.reason.is_some() => &mut depth.held,
            State::Queued => &mut depth.ready,
            State::Scheduled => &mut depth.scheduled,
            State::Running => &mut depth.running,
            State::Completed => &mut depth.completed,
            State::Failed => &mut depth.failed,
            State::Cancelled => &mut depth.cancelled,
            State::WaitAsync => &mut depth.parked,
        } += 1;
    }
    depth
}
