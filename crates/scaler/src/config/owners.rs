//! Whose queue it is: a queue belongs to one pool, unless one takes the other's overflow.

use headcount_queue::Binding;

use super::{
    mistake::{Notes, meant},
    pool::Draft,
};
use crate::pool::{covers, shared};

/// Notes pools that share a queue, and overflows that lead nowhere.
pub(super) fn check(pools: &[Draft], notes: &Notes<'_>) {
    for pool in pools {
        overflow(pool, pools, notes);
    }
    for (i, pool) in pools.iter().enumerate() {
        for other in &pools[..i] {
            if above(pool, pools).any(|a| a == other.name) || above(other, pools).any(|a| a == pool.name) {
                continue;
            }
            for (mine, at) in &pool.queues {
                for (theirs, place) in &other.queues {
                    let Some(queue) = both(mine, theirs) else { continue };
                    let (line, _) = notes.place(place.start);
                    notes.wrong(
                        at,
                        format!(
                            "pools {} (line {line}) and {} both serve {queue}, and would both hire for the same jobs: \
                             give it to one of them, or write overflow_of = \"{}\" in {}",
                            other.name, pool.name, other.name, pool.name
                        ),
                    );
                }
            }
        }
    }
}

fn both(mine: &str, theirs: &str) -> Option<String> {
    shared(&mine.parse::<Binding>().ok()?, &theirs.parse().ok()?)
}

fn overflow(pool: &Draft, pools: &[Draft], notes: &Notes<'_>) {
    let Some((of, at)) = &pool.overflow_of else { return };
    let Some(first) = pools.iter().find(|other| other.name == *of) else {
        let near = meant(of, pools.iter().map(|pool| pool.name.as_str()).filter(|name| *name != pool.name));
        let near = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
        return notes.wrong(at, format!("overflow_of: there is no pool {of:?}{near}"));
    };
    if above(pool, pools).any(|above| above == pool.name) {
        let way: Vec<&str> = above(pool, pools).collect();
        return notes.wrong(
            at,
            format!("overflow_of goes in a circle: {} → {}; one of them has to come first", pool.name, way.join(" → ")),
        );
    }
    let meets = pool.queues.iter().any(|(mine, _)| first.queues.iter().any(|(theirs, _)| both(mine, theirs).is_some()));
    if !meets && !pool.queues.is_empty() && !first.queues.is_empty() {
        return notes.wrong(at, format!("overflow_of: {} and {of} share no queue, so nothing overflows", pool.name));
    }
    if pool.is_foreign || first.is_foreign {
        return notes.wrong(at, "overflow_of: a pool with a source of its own knows of no other's work: leave one out");
    }
    // What the other cannot meet is all that this pool gets, and of a queue of its own the other meets nothing.
    let theirs: Vec<&str> = first.queues.iter().map(|(queue, _)| queue.as_str()).collect();
    let Ok(all) = theirs.join(",").parse::<Binding>() else { return };
    for (mine, place) in &pool.queues {
        if mine.parse().is_ok_and(|mine| !covers(&all, &mine)) {
            let name = &pool.name;
            notes.wrong(
                place,
                format!("{name} takes the overflow of {of}, which does not serve {mine}: give it to {of} too, or to a third pool"),
            );
        }
    }
}

/// The pools whose overflow this one takes, the nearest first; a circle ends where it began.
pub(super) fn above<'p>(pool: &'p Draft, pools: &'p [Draft]) -> impl Iterator<Item = &'p str> {
    let mut next = pool.overflow_of.as_ref().map(|(of, _)| of.as_str());
    let mut left = pools.len();
    std::iter::from_fn(move || {
        let name = next?;
        left = left.checked_sub(1)?;
        next = if name == pool.name {
            None
        } else {
            let found = pools.iter().find(|pool| pool.name == name);
            found.and_then(|pool| pool.overflow_of.as_ref()).map(|(of, _)| of.as_str())
        };
        Some(name)
    })
}
