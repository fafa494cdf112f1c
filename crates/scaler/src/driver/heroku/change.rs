//! From a change and the quantity that Heroku has right now to the quantity to ask for. Pure.
//!
//! Heroku takes a number and no names, and removes the dynos with the highest. So a removal is asked for only where
//! that number removes exactly the dynos that were named, by the quantity read right before: anything else would kill
//! a dyno that works. No conditional write exists; what changes between the reading and the write, one round trip, is
//! not seen.

use std::collections::BTreeSet;

use super::answer::ordinal;
use crate::driver::{Change, InstanceId};

/// What to ask Heroku for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// This quantity.
    For(u32),
    /// Nothing: it is so already.
    Nothing,
}

/// What to ask for so that the change is made of `quantity` dynos of this process type, and nothing else happens.
///
/// # Errors
/// Why it must not be asked for.
pub(super) fn ask(change: &Change, process_type: &str, quantity: u32) -> Result<Ask, String> {
    match change {
        // Absolute, and another's raise may have come first: to ask for less than there is would remove.
        Change::GrowTo { size, .. } if *size <= quantity => Ok(Ask::Nothing),
        Change::GrowTo { size, .. } => Ok(Ask::For(*size)),
        Change::Remove { instances, size, .. } => remove(instances, *size, process_type, quantity),
        // Heroku waits for nobody's word.
        Change::Complete { .. } | Change::Extend { .. } => Ok(Ask::Nothing),
    }
}

fn remove(instances: &[InstanceId], size: u32, process_type: &str, quantity: u32) -> Result<Ask, String> {
    let named: BTreeSet<&str> = instances.iter().map(InstanceId::as_str).collect();
    if quantity == size || named.is_empty() {
        // An earlier request whose answer was lost has done it: they are ending.
        return Ok(Ask::Nothing);
    }
    let planned = size as usize + named.len();
    if quantity as usize != planned {
        return Err(format!(
            "{process_type} has {quantity} dynos now and the plan was made for {planned}: somebody else has changed it, \
             and the plan is dropped"
        ));
    }
    if size == 0 && named.iter().all(|name| ordinal(process_type, name).is_none()) {
        // Dynos without numbers: which goes first is not known, but here all go.
        return Ok(Ask::For(0));
    }
    let mut numbers = BTreeSet::new();
    for name in &named {
        let number = ordinal(process_type, name).ok_or_else(|| {
            format!(
                "which dyno of {process_type} Heroku removes is not known, since {name} has no number: all of them or \
                 none can be removed"
            )
        })?;
        numbers.insert(number);
    }
    let killed: BTreeSet<u32> = (size + 1..=quantity).collect();
    match killed.difference(&numbers).max() {
        None => Ok(Ask::For(size)),
        Some(other) => Err(format!(
            "{size} dynos of {process_type} would kill {process_type}.{other}, which was not to be removed: Heroku removes \
             the highest numbers, and {} are not the highest",
            named.into_iter().collect::<Vec<_>>().join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::driver::PoolRef;

    fn removal(names: &[&str], size: u32) -> Change {
        let instances = names.iter().map(|name| InstanceId::from(*name)).collect();
        Change::Remove { pool: PoolRef::from("mail"), instances, size }
    }

    #[test]
    fn growing_never_removes() {
        let grow = |size| Change::GrowTo { pool: PoolRef::from("mail"), size };
        assert_eq!(ask(&grow(5), "worker", 3), Ok(Ask::For(5)));
        assert_eq!(ask(&grow(5), "worker", 5), Ok(Ask::Nothing));
        assert_eq!(ask(&grow(5), "worker", 9), Ok(Ask::Nothing));
    }

    #[test]
    fn a_removal_is_asked_for_only_where_the_highest_numbers_are_those_named() {
        for (names, size, quantity, answer) in [
            (&["worker.9", "worker.10"][..], 8, 10, Ok(8)),
            (&["worker.10", "worker.9", "worker.9"], 8, 10, Ok(8)),
            (&["worker.1"], 0, 1, Ok(0)),
            (&["worker.8", "worker.9"], 8, 10, Err("would kill worker.10")),
            (&["worker.9"], 9, 10, Err("would kill worker.10")),
            (&["worker.8", "worker.10"], 8, 10, Err("would kill worker.9")),
            (&["worker.9", "worker.10"], 8, 11, Err("has 11 dynos now and the plan was made for 10")),
            (&["worker.9", "worker.10"], 8, 9, Err("has 9 dynos now")),
            (&["other.9", "worker.10"], 8, 10, Err("other.9 has no number")),
            (&["worker-5c-x2"], 1, 2, Err("all of them or none")),
            (&["worker-5c-x2", "worker-5c-x3"], 0, 2, Ok(0)),
        ] {
            match (ask(&removal(names, size), "worker", quantity), answer) {
                (Ok(asked), Ok(expected)) => assert_eq!(asked, Ask::For(expected), "{names:?}"),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{names:?}: {why}"),
                (found, expected) => panic!("{names:?}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn what_has_been_removed_already_is_not_removed_again() {
        assert_eq!(ask(&removal(&["worker.9", "worker.10"], 8), "worker", 8), Ok(Ask::Nothing));
        assert_eq!(ask(&removal(&[], 8), "worker", 10), Ok(Ask::Nothing));
    }

    proptest! {
        /// Whatever is named: if it is asked for, then what Heroku removes is what was named.
        #[test]
        fn heroku_never_removes_a_dyno_that_was_not_named(
            named in proptest::collection::btree_set(1_u32..12, 0..6), size in 0_u32..12, quantity in 0_u32..12,
        ) {
            let names: Vec<String> = named.iter().map(|number| format!("worker.{number}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            if let Ok(Ask::For(asked)) = ask(&removal(&names, size), "worker", quantity) {
                prop_assert_eq!((asked + 1..=quantity).collect::<BTreeSet<_>>(), named);
            }
        }
    }
}
