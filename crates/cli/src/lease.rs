//! Who scales, by the store's leases.

use headcount_queue::store::LeaseRecord;

/// The lease of the worker that tells that no scaler acts. No scaler's.
pub(crate) const NOTICE: &str = "notice:no-scaler";

/// Whether this is the lease of a scaler of pools, and not of one that belongs to a `headcount run`, nor of
/// the worker that tells of a missing one.
pub(crate) fn is_of_a_scaler(lease: &LeaseRecord) -> bool {
    !lease.lease.starts_with("run:") && lease.lease != NOTICE
}

/// Whether nobody scales any more.
pub(crate) fn missing(lease: &LeaseRecord) -> Option<String> {
    let gone = lease.until < lease.read_at && is_of_a_scaler(lease);
    gone.then(|| {
        let since = lease.until.format("%Y-%m-%d %H:%M:%S UTC");
        format!(
            "no scaler since {since} (it was {}): the pools stay as they are; start `headcount scale`",
            lease.holder
        )
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_lease_that_has_run_out_is_a_scaler_that_is_missed() {
        let lease = |name: &str, until| LeaseRecord {
            lease: name.into(),
            holder: "h".into(),
            epoch: 1,
            since: at("2026-01-31T12:00:00Z"),
            until: at(until),
            read_at: at("2026-01-31T14:00:00Z"),
        };
        assert_eq!(missing(&lease("scaler", "2026-01-31T14:00:05Z")), None);
        let told = missing(&lease("scaler", "2026-01-31T12:03:00Z")).unwrap();
        assert!(told.contains("no scaler since 2026-01-31 12:03:00 UTC"), "{told}");
        assert_eq!(missing(&lease(NOTICE, "2026-01-31T12:03:00Z")), None, "that tells of one");
        assert_eq!(missing(&lease("run:x", "2026-01-31T12:03:00Z")), None, "that run is over");
    }
}
