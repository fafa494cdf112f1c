//! What the pools of one scaler that share queues know of each other.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use headcount_queue::{WorkerRecord, store::WorkerState};

use super::Pool;
use crate::{
    decide::limits::{Bound, Range},
    driver::Trouble,
    observe::{Observation, Peer, Rank, Standing, StoreReading},
};

/// A pool that could not be looked at for so long cannot be grown either.
const LOST: Duration = Duration::from_mins(2);

/// What was last seen of a pool, as far as it concerns its peers.
#[derive(Debug)]
pub(super) struct Glimpse {
    since: Instant,
    seen: Option<Sight>,
}

#[derive(Debug)]
struct Sight {
    at: DateTime<Utc>,
    claiming: u32,
    booting: u32,
    boot: Duration,
    slots: u32,
    running: u32,
    most: u32,
}

impl Glimpse {
    pub(super) fn none() -> Self {
        Self { since: Instant::now(), seen: None }
    }

    /// Takes note of a good reading, and of the bounds in force.
    pub(super) fn look(&mut self, seen: &Observation, range: &Range, max: u32, assumed: u32) {
        // Where growing does not help, it helps elsewhere no more: that is no room which is missing.
        let high = if matches!(range.high_by, Bound::Futile { .. }) { max } else { range.high };
        let most = high.min(seen.limits.max.unwrap_or(high)).saturating_sub(seen.useless());
        let stuck = seen.trouble.as_ref().is_some_and(Trouble::is_lasting);
        let claiming = seen.count(Standing::Active);
        self.seen = Some(Sight {
            at: seen.at,
            claiming,
            booting: seen.booting(),
            boot: seen.limits.boot,
            slots: seen.slots(assumed),
            running: seen.running(),
            most: if stuck { most.min(claiming + seen.recallable()) } else { most },
        });
    }
}

impl Pool {
    /// This pool as another one's peer.
    fn as_peer(&self, rank: Rank, reading: &StoreReading) -> Peer {
        let peer = |claiming, booting, boot, slots, running, most| Peer {
            name: self.spec.name().clone(),
            rank,
            claiming,
            booting,
            boot,
            slots,
            running,
            most,
        };
        let fresh = |sight: &&Sight| (reading.at - sight.at).to_std().unwrap_or_default() < LOST;
        if let Some(sight) = self.glimpse.seen.as_ref().filter(fresh) {
            return peer(sight.claiming, sight.booting, sight.boot, sight.slots, sight.running, sight.most);
        }
        // Its platform cannot be read. The store still knows who of it works.
        let claims = |worker: &&WorkerRecord| {
            worker.state == WorkerState::Active && worker.pool.as_deref() == Some(self.spec.name().as_str())
        };
        let working: Vec<&WorkerRecord> = reading.workers.iter().filter(claims).collect();
        let claiming = working.len() as u32;
        let slots = working.iter().map(|worker| worker.slots).max().unwrap_or(self.spec.assumed_slots());
        let running = working.iter().map(|worker| worker.running).sum();
        // A scaler that has only just begun knows nothing yet, and unknown is not "none".
        let lost = self.glimpse.seen.is_some() || self.glimpse.since.elapsed() > LOST;
        let most = if lost { claiming } else { self.spec.max() };
        peer(claiming, 0, Duration::ZERO, slots, running, most)
    }
}

/// The peers of one of these pools.
pub(super) fn of(pools: &[Pool], index: usize, reading: &StoreReading) -> Vec<Peer> {
    let spec = &pools[index].spec;
    let rank = |other: &Pool| {
        if spec.takes_overflow_of().contains(other.spec.name()) {
            Some(Rank::Above)
        } else if other.spec.takes_overflow_of().contains(spec.name()) {
            Some(Rank::Below)
        } else {
            None
        }
    };
    // The nearest above first, as it is named in the pool's reasons.
    let nearness = |peer: &Peer| spec.takes_overflow_of().iter().position(|above| *above == peer.name);
    let mut peers: Vec<Peer> =
        pools.iter().filter_map(|other| rank(other).map(|rank| other.as_peer(rank, reading))).collect();
    peers.sort_by_key(nearness);
    peers
}
