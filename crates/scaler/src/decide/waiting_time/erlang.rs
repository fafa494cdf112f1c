//! How many workers must stand ready where a new one would come too late: Erlang's C formula.

/// The fewest workers of so many slots with which at most the share `limit` of jobs waits for longer than `within`
/// seconds, if `load` slots are busy on average with jobs that run for `run` seconds. At most `most`.
///
/// P(wait > W) = C(n, a) · exp(−(n − a)·W/S) for n slots and a load a, where jobs come independently of each other and
/// run times are exponential.
pub(super) fn workers(load: f64, run: f64, within: f64, limit: f64, slots: u32, most: u32) -> u32 {
    if load <= 1e-9 {
        return 0;
    }
    let slots = slots.max(1);
    // More than this no pool has; the walk stays short whatever the load.
    let most = most.min(1_000_000 / slots).max(1);
    if load >= f64::from(most) * f64::from(slots) {
        return most;
    }
    // Erlang B, the share of jobs that would find all slots busy if none could wait: from n − 1 slots to n.
    let mut blocked = 1.0;
    let mut n = 0.0;
    for workers in 1..most {
        for _ in 0..slots {
            n += 1.0;
            blocked = load * blocked / (n + load * blocked);
        }
        if n > load {
            let waits = blocked / (1.0 - load / n * (1.0 - blocked));
            if waits * (-(n - load) * within / run.max(1e-3)).exp() <= limit {
                return workers;
            }
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_the_formula() {
        // Tables of Erlang C: with 10 slots and a load of 8, 40.9 % wait at all; with 12 slots 13.98 %.
        assert_eq!(workers(8.0, 1.0, 0.0, 0.4093, 1, 100), 10);
        assert_eq!(workers(8.0, 1.0, 0.0, 0.4091, 1, 100), 11);
        assert_eq!(workers(8.0, 1.0, 0.0, 0.1399, 1, 100), 12);
        // One slot, half busy: half of them wait, and for longer than two run times e⁻¹ of those.
        assert_eq!(workers(0.5, 10.0, 20.0, 0.185, 1, 100), 1);
        assert_eq!(workers(0.5, 10.0, 20.0, 0.183, 1, 100), 2);
    }

    #[test]
    fn slots_come_by_the_worker_and_no_load_needs_none() {
        assert_eq!(workers(8.0, 1.0, 0.0, 0.4093, 4, 100), 3);
        assert_eq!(workers(0.0, 1.0, 0.0, 0.05, 1, 100), 0);
        assert_eq!(workers(1e12, 1.0, 0.0, 0.05, 1, 40), 40);
        assert_eq!(workers(1e12, 1e9, 1e9, 0.0, u32::MAX, u32::MAX), 1);
    }
}
