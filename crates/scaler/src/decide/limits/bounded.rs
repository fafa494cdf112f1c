//! All limits around a policy's decision.

use super::{Bound, Inputs, Range, State, pace::pace};
use crate::{
    decide::{Decision, Step},
    pool::PoolSpec,
};

/// Decides within the limits: `decide` gets the pool with the bounds in force, and what it decides is slowed to the
/// pool's pace. Call it with a good reading, after [`State::observe`]; on what cannot be seen there is nothing to limit.
pub fn bounded(
    spec: &PoolSpec,
    state: &State,
    inputs: &Inputs<'_>,
    decide: impl FnOnce(&PoolSpec) -> Decision,
) -> Decision {
    let (rules, current) = (spec.rules_in_force(), inputs.current);
    let range = Range::of(spec, state, inputs);
    let mut decision = decide(&spec.bounded_by(range.low..=range.high));
    decision.bound = decision.bound.map(|bound| range.name(bound));
    let Some(target) = decision.step.target() else { return decision };
    let (to, slowed) = pace(rules, &state.changes, &range, current, target, inputs.now);
    if slowed.is_some() {
        decision.step = Step::towards(current, to);
        decision.bound = slowed;
    }
    if let (Step::Shrink { .. }, Some(backlog)) = (decision.step, inputs.foreign)
        && !backlog.is_still()
    {
        decision.step = Step::Keep(current);
        decision.bound = Some(Bound::NoDrain { pending: backlog.pending, running: backlog.running });
    }
    if let (Step::Grow { to, .. }, None) = (decision.step, decision.bound) {
        decision.bound = state.manual.undone(to, rules.respect_manual, inputs.now);
    }
    decision
}
