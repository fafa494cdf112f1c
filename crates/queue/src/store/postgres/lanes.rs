//! What a claimer remembers of each lane: where its last claim ended.
//!
//! The index of `ready` begins with the entries of rows that were taken a moment ago. A claim that starts where the last
//! one ended does not walk over them again, which is worth 5 to 7 times the speed while an old transaction keeps them
//! from being removed. What commits behind that place is found by the sweep, which sets the lane back to it.
//!
//! A worker with two claims under way has one memory for both. The second begins behind what the first is about to take:
//! its first lane's next n places hold n jobs at most, so a claim of n takes whatever may be taken there. Passing over as
//! many locked rows instead costs a third of what claiming them does.
//!
//! With aging a lane counts as one priority higher for each such time that its first job has waited. The sweep says how
//! long that is; until the next one it is what the last job taken had waited, which was before it. Pure.

use std::{
    cmp::Reverse,
    collections::HashMap,
    time::{Duration, Instant},
};

/// A lane in which nothing was seen for so long is forgotten; the next sweep brings it back.
const FORGET: Duration = Duration::from_mins(1);

/// A queue at one priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) queue: String,
    pub(super) priority: i16,
    /// Jobs before this place were taken, or are somebody's.
    pub(super) from: i64,
    seen: Instant,
    /// How long its first job had been claimable when it was seen.
    waited: Duration,
}

/// The first job of a lane, as a sweep saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) queue: String,
    pub(super) priority: i16,
    pub(super) seq: i64,
    /// How long it had been claimable.
    pub(super) waited: Duration,
}

/// A job that a claim took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took<'a> {
    pub(super) queue: &'a str,
    pub(super) priority: i16,
    pub(super) seq: i64,
    /// How long it had been claimable.
    pub(super) waited: Duration,
}

/// What a claim under way leaves nothing of.
#[derive(Debug)]
struct Away {
    claim: i64,
    queue: String,
    priority: i16,
    from: i64,
    to: i64,
}

/// The lanes of one worker, by falling priority.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    known: Vec<Lane>,
    away: Vec<Away>,
    turn: usize,
    aging: Option<Duration>,
}

impl Lanes {
    /// None yet. `aging`: see [`Claim::claimer`](crate::store::Claim::claimer).
    pub(super) fn new(aging: Option<Duration>) -> Self {
        Self { aging: aging.filter(|aging| !aging.is_zero()), ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes over what a sweep saw: every lane that has jobs, and the place of its first.
    pub(super) fn swept(&mut self, heads: impl IntoIterator<Item = Head>, now: Instant) {
        for Head { queue, priority, seq, waited } in heads {
            match self.known.iter_mut().find(|lane| lane.priority == priority && lane.queue == queue) {
                Some(lane) => (lane.from, lane.seen, lane.waited) = (seq, now, waited),
                None => self.known.push(Lane { queue, priority, from: seq, seen: now, waited }),
            }
        }
        // A lane that is empty just now is where the next job may come in.
        self.known.retain(|lane| now.duration_since(lane.seen) < FORGET);
        self.known.sort_by(|a, b| (Reverse(a.priority), &a.queue).cmp(&(Reverse(b.priority), &b.queue)));
    }

    /// The lanes in the order in which they are to be served, each with its rank: by falling rank, and among equals
    /// another one first each time.
    pub(super) fn in_turn(&self, now: Instant) -> Vec<(i64, &Lane)> {
        let mut ranked: Vec<_> = self.known.iter().map(|lane| (self.rank(lane, now), lane)).collect();
        ranked.sort_by_key(|&(rank, _)| Reverse(rank));
        let mut served = Vec::with_capacity(ranked.len());
        for equals in ranked.chunk_by(|(a, _), (b, _)| a == b) {
            let (late, first) = equals.split_at(self.turn % equals.len());
            served.extend(first.iter().chain(late).copied());
        }
        served
    }

    /// Where a claim is to begin in this lane.
    pub(super) fn start(&self, lane: &Lane) -> i64 {
        let mut from = lane.from;
        // In the order in which they were sent, each of which began behind those before.
        for away in self.away.iter().filter(|away| away.priority == lane.priority && away.queue == lane.queue) {
            if (away.from..away.to).contains(&from) {
                from = away.to;
            }
        }
        from
    }

    /// A claim of so many jobs is sent, which begins in this lane, here.
    pub(super) fn sent(&mut self, claim: i64, jobs: u32, queue: &str, priority: i16, from: i64) {
        let to = from.saturating_add(jobs.into());
        self.away.push(Away { claim, queue: queue.to_owned(), priority, from, to });
    }

    /// It has come back, or never will.
    pub(super) fn back(&mut self, claim: i64) {
        self.away.retain(|away| away.claim != claim);
    }

    /// The priority as which a lane counts.
    fn rank(&self, lane: &Lane, now: Instant) -> i64 {
        let aged = self.aging.map_or(0, |aging| {
            let age = lane.waited + now.duration_since(lane.seen);
            // A lane that nobody serves could climb for ever; this is above every priority.
            (age.as_nanos() / aging.as_nanos()).min(1 << 20) as i64
        });
        i64::from(lane.priority) + aged
    }

    /// Notes that a claim which passes jobs over took so many, and gives the turn to the next. The places stay as they are:
    /// what it passed over lies between those and what it took, and is to be found by any claim to come.
    pub(super) fn served(&mut self, jobs: usize) {
        if jobs > 0 {
            self.turn = self.turn.wrapping_add(1);
        }
    }

    /// Notes what a claim took, and gives the turn to the next.
    pub(super) fn took<'a>(&mut self, jobs: impl IntoIterator<Item = Took<'a>>, now: Instant) {
        let mut ends: HashMap<(&str, i16), Took<'a>> = HashMap::new();
        for job in jobs {
            let end = ends.entry((job.queue, job.priority)).or_insert(job);
            if job.seq > end.seq {
                *end = job;
            }
        }
        for lane in &mut self.known {
            if let Some(end) = ends.get(&(&*lane.queue, lane.priority)) {
                (lane.from, lane.seen, lane.waited) = (lane.from.max(end.seq + 1), now, end.waited);
            }
        }
        self.served(ends.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn head(queue: &str, priority: i16, seq: i64, waited: Duration) -> Head {
        Head { queue: queue.to_owned(), priority, seq, waited }
    }

    fn took(queue: &str, priority: i16, seq: i64) -> Took<'_> {
        Took { queue, priority, seq, waited: Duration::ZERO }
    }

    fn lanes(heads: &[(&str, i16, i64)], now: Instant) -> Lanes {
        let mut lanes = Lanes::default();
        lanes.swept(heads.iter().map(|&(queue, priority, seq)| head(queue, priority, seq, Duration::ZERO)), now);
        lanes
    }

    fn order(lanes: &Lanes, now: Instant) -> Vec<&str> {
        lanes.in_turn(now).into_iter().map(|(_, lane)| &*lane.queue).collect()
    }

    #[test]
    fn higher_priorities_come_first_and_equals_take_turns() {
        let now = Instant::now();
        let mut lanes = lanes(&[("a", 0, 1), ("b", 0, 2), ("c", 0, 3), ("top", 9, 4)], now);
        assert_eq!(order(&lanes, now), ["top", "a", "b", "c"]);
        lanes.took([took("a", 0, 1)], now);
        assert_eq!(order(&lanes, now), ["top", "b", "c", "a"]);
        lanes.took([], now);
        assert_eq!(order(&lanes, now), ["top", "b", "c", "a"], "a claim that took nothing was nobody's turn");
    }

    #[test]
    fn a_claim_goes_on_where_the_last_one_ended_and_a_sweep_sets_it_back() {
        let now = Instant::now();
        let mut lanes = lanes(&[("a", 0, 10)], now);
        lanes.took([took("a", 0, 12), took("a", 0, 11)], now);
        assert_eq!(lanes.in_turn(now)[0].1.from, 13);
        lanes.swept([head("a", 0, 5, Duration::ZERO)], now);
        assert_eq!(lanes.in_turn(now)[0].1.from, 5);
    }

    #[test]
    fn a_claim_that_passes_jobs_over_gives_the_turn_to_the_next_and_goes_on_from_where_it_began() {
        let now = Instant::now();
        let mut lanes = lanes(&[("a", 0, 10), ("b", 0, 11)], now);
        lanes.took([took("a", 0, 12)], now);
        assert_eq!(order(&lanes, now), ["b", "a"]);
        lanes.served(3);
        assert_eq!(order(&lanes, now), ["a", "b"]);
        assert_eq!(lanes.in_turn(now)[0].1.from, 13);
        lanes.served(0);
        assert_eq!(order(&lanes, now), ["a", "b"]);
    }

    #[test]
    fn a_claim_begins_behind_what_those_under_way_take() {
        let now = Instant::now();
        let mut lanes = lanes(&[("a", 0, 10), ("b", 0, 10)], now);
        let start = |lanes: &Lanes, n: usize| lanes.start(&lanes.known[n]);
        lanes.sent(1, 100, "a", 0, 10);
        assert_eq!((start(&lanes, 0), start(&lanes, 1)), (110, 10));
        lanes.sent(2, 50, "a", 0, 110);
        assert_eq!(start(&lanes, 0), 160);
        lanes.back(1);
        assert_eq!(start(&lanes, 0), 10, "what it took is for its answer to say");
        lanes.took([took("a", 0, 115)], now);
        assert_eq!(start(&lanes, 0), 160);
        lanes.back(2);
        assert_eq!(start(&lanes, 0), 116);
    }

    #[test]
    fn an_empty_lane_is_remembered_for_a_while() {
        let now = Instant::now();
        let mut lanes = lanes(&[("a", 0, 10)], now);
        lanes.swept([], now + FORGET / 2);
        assert_eq!(order(&lanes, now + FORGET / 2), ["a"]);
        lanes.swept([], now + FORGET);
        assert!(lanes.is_empty());
    }

    #[test]
    fn without_aging_no_wait_lifts_a_lane() {
        let now = Instant::now();
        for aging in [None, Some(Duration::ZERO)] {
            let mut lanes = Lanes::new(aging);
            lanes.swept([head("old", 0, 1, FORGET * 1000), head("top", 1, 2, Duration::ZERO)], now);
            assert_eq!(order(&lanes, now + FORGET * 1000), ["top", "old"]);
        }
    }

    #[test]
    fn with_aging_a_lane_rises_by_one_priority_for_each_such_wait_of_its_first_job() {
        let now = Instant::now();
        let mut lanes = Lanes::new(Some(10 * SECOND));
        lanes.swept([head("old", 0, 1, 15 * SECOND), head("top", 2, 2, Duration::ZERO)], now);
        assert_eq!(order(&lanes, now), ["top", "old"], "it counts as 1");
        assert_eq!(order(&lanes, now + 4 * SECOND), ["top", "old"], "still as 1");
        let later = now + 5 * SECOND;
        assert_eq!(lanes.in_turn(later).iter().map(|(rank, _)| *rank).collect::<Vec<_>>(), [2, 2], "equals");
        lanes.took([took("top", 2, 2)], later);
        assert_eq!(order(&lanes, later), ["old", "top"], "whose turn it is now");
        // Its first job now is one that has just come.
        lanes.took([took("old", 0, 1)], later);
        assert_eq!(order(&lanes, later), ["top", "old"]);
        assert_eq!(lanes.in_turn(now + FORGET * 1_000_000)[1].0, 1 << 20, "a rank has an end");
    }
}
