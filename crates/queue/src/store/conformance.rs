//! The suite that every store must pass. How to write another one, step by step:
//! [`writing_a_store`](super::writing_a_store).
//!
//! # What a store must promise
//! A store implements [`Enqueue`], [`Claim`], [`Observe`], [`Maintain`], [`Scale`] and [`Admin`]; whatever does so is a
//! [`Store`]. Each method says what it does; the promises that span several of them are these:
//!
//! - **A job is in one place.** It has one state at any moment, and goes from one to another only as
//!   [`State::MOVES`](crate::State::MOVES) says. Any other move is refused with an error that names the state, and
//!   changes nothing ([`moves`]).
//! - **Order.** Within a queue the higher priority goes first, then who became claimable first. A job that comes back
//!   without having failed keeps its place ([`ordering`]).
//! - **Only the attempt that holds the token settles it.** Whatever comes late changes nothing and is no error
//!   ([`fencing`]).
//! - **A drain is a wall, not a wish.** Once [`Admin::drain`] has returned, no claim of that worker is in flight
//!   ([`drain`]).
//! - **A reply may be lost after its commit.** What was claimed and never heard of comes back by the beat
//!   ([`beats`]); a settlement may be sent again.
//! - **Death and stop cost no attempt**, and a job that kills its process is isolated before it is failed, so that its
//!   neighbours never are ([`rescue`], [`interruptions`]).
//! - **The counters are right after any history** once they are folded, and cost the same at any depth ([`counters`]).
//! - **Success removes, failure stays**, unless a retention says otherwise ([`retention`]).
//! - **Every time is the store's own clock's** ([`times`]).
//! - **What was enqueued comes out byte for byte**, all of a bulk or none of it ([`enqueue`]).
//! - **What the limits forbid never gets in**, and no verdict, however odd, stops the settling of others ([`limits`]).
//! - **What is shown is exact** ([`admin`]).
//! - **Of jobs with one key in one queue one is enough**, however many enqueue at once, and no change is lost that came
//!   while it ran ([`coalescing`]); its key goes with its end, to whoever waits for it ([`keys`]).
//! - **A binding gets what its entries mean**, and queues of equal rank are served in turn ([`bindings`]); where a worker
//!   asks for it, what waits long comes to count as urgent ([`aging`]).
//! - **A setting holds for everyone until it is set anew**; what is paused keeps its place and is in nobody's way
//!   ([`settings`]).
//! - **An action takes what its filter finds and nothing else**, and passes over what it may not move ([`actions`]).
//! - **A parked job belongs to nobody but its secret's holder** ([`parking`]): who answers by it once ends the wait, and an
//!   answer is never lost, though it come before the job parks ([`answers`]); without one the deadline ends it
//!   ([`deadlines`]).
//! - **What a scaler reads is what it needs to know**: who waits at which priority and for how long, what is demand, and
//!   what happened lately ([`recent`]).
//! - **One scaler acts at a time.** A lease is held by one, and what is written under an older one, or after it ran out,
//!   changes nothing ([`leases`]).
//! - **A pool is what its scaler made known last, and what a person ordered stands above it**; where lower ordinals are
//!   to claim first, every beat says how much they can take ([`pools`]), and which kinds they are to be left, which then
//!   no claim above them takes before half of its time has passed ([`sparing`]).
//! - **A drain belongs to the place.** Whatever comes up there claims nothing until it ends, which needs nobody; a
//!   person's has no end and stands above the scaler's ([`places`]).
//! - **Nothing that is let go runs a job**: a place goes only while nothing runs there and nobody could claim, and whatever
//!   comes up there then is leaving ([`removals`]).
//! - **Every decision is kept with its reasons**, equal ones in a row as one ([`ledger`]).
//! - **What falls due soon is known**, and only what may then be claimed ([`known`]).
//!
//! # How to run it
//! Enable the feature `conformance` of this crate among the dev-dependencies, say how the suite comes by a store, and
//! name that function; the macro makes one `#[tokio::test]` for each case, named after it (`tokio` with its features
//! `macros`, `rt-multi-thread` must be a dev-dependency too):
//!
//! ```
//! use std::sync::Arc;
//! use headcount_queue::{Result, store::{self, Options, Store, conformance::Fixture}};
//!
//! #[derive(Debug)]
//! struct MyFixture(Arc<dyn Store>);
//!
//! #[async_trait::async_trait]
//! impl Fixture for MyFixture {
//!     fn store(&self) -> Arc<dyn Store> {
//!         self.0.clone()
//!     }
//!
//!     async fn another_handle(&self) -> Result<Arc<dyn Store>> {
//!         // As another process would open it.
//!         Ok(self.0.clone())
//!     }
//! }
//!
//! async fn fresh() -> Result<MyFixture> {
//!     // Open yours here: empty, migrated, and of its own for each case, for the suite counts and runs many at once.
//!     Ok(MyFixture(store::open(&"sqlite::memory:".parse()?, &Options::default()).await?))
//! }
//!
//! headcount_queue::conformance_tests!(fresh);
//! # fn main() {}
//! ```
//!
//! A case fails by a panic that says what was expected. Nothing in the suite sleeps for a time that it guesses: it
//! waits for conditions, with a deadline of half a minute.

#![expect(clippy::similar_names, reason = "a claimer and what it claimed")]

mod trial;
mod history;
mod recount;
pub mod moves;
pub mod ordering;
pub mod fencing;
pub mod drain;
pub mod beats;
pub mod interruptions;
pub mod rescue;
pub mod counters;
pub mod retention;
pub mod times;
pub mod enqueue;
pub mod admin;
pub mod limits;
pub mod coalescing;
pub mod keys;
pub mod bindings;
pub mod aging;
pub mod settings;
pub mod actions;
pub mod parking;
pub mod answers;
pub mod deadlines;
pub mod recent;
mod scaling;
pub mod leases;
pub mod pools;
pub mod sparing;
pub mod places;
pub mod removals;
pub mod ledger;
pub mod known;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{NewJob, Result, store::Enqueued};

use super::Store;
#[expect(unused_imports, reason = "named by the page above")]
use super::{Admin, Claim, Enqueue, Maintain, Observe, Scale};

pub use trial::Trial;

/// How the suite comes by a store: one fixture for each case, fresh.
#[async_trait]
pub trait Fixture: fmt::Debug + Send + Sync {
    /// The store: empty and migrated. Every call gives the same handle.
    fn store(&self) -> Arc<dyn Store>;

    /// Another handle to the same store, as another process would open it. A store that lives in one process's memory
    /// returns the one it has.
    async fn another_handle(&self) -> Result<Arc<dyn Store>>;

    /// Enqueues these jobs by [`Enqueue::enqueue_in`] in a transaction of the application's own, which it then commits
    /// or rolls back. `None` (the default) for a store whose callers have no transactions.
    async fn enqueue_in_transaction(&self, jobs: &[NewJob], commit: bool) -> Option<Result<Vec<Enqueued>>> {
        let _ = (jobs, commit);
        None
    }
}

/// Makes one `#[tokio::test]` of each case of the [suite](crate::store::conformance), in a module for each idea.
///
/// The argument names a function of the calling module, `async fn() -> Result<impl Fixture>`, which opens a fresh,
/// empty, migrated store.
#[macro_export]
macro_rules! conformance_tests {
    ($fresh:ident) => {
        $crate::conformance_tests! { @list tests ($fresh) }
    };

    // Every case of the suite, said once. A public function of these modules that is not here fails a test.
    (@list $then:ident $arguments:tt) => {
        $crate::conformance_tests! { @$then $arguments
            moves {
                a_scheduled_job_makes_only_the_moves_of_the_table
                a_queued_job_makes_only_the_moves_of_the_table
                a_running_job_makes_only_the_moves_of_the_table
                a_parked_job_makes_only_the_moves_of_the_table
                a_completed_job_makes_only_the_moves_of_the_table
                a_failed_job_makes_only_the_moves_of_the_table
                a_cancelled_job_makes_only_the_moves_of_the_table
                an_unknown_job_is_named_as_such_and_moved_by_nothing
                a_cancelled_running_job_goes_on_until_its_worker_ends_it
                after_a_cancel_no_verdict_brings_a_running_job_back
                a_manual_retry_starts_afresh_behind_those_that_wait
                a_deleted_job_leaves_nothing_behind
                moves_by_id_never_lose_sight_of_a_job_that_others_move
            }
            ordering {
                higher_priorities_come_first_and_then_the_order_of_enqueueing
                a_claim_of_one_takes_the_first_of_all
                jobs_promoted_together_come_out_by_their_due_times
                a_promoted_job_lines_up_behind_those_that_wait
                a_returned_an_interrupted_and_a_rescued_job_keep_their_place
                a_job_given_back_is_found_at_once_by_a_claimer_that_is_past_its_place
                a_retried_and_a_snoozed_job_line_up_anew
                a_claimer_at_the_end_of_its_queue_finds_what_comes_in
                queues_of_equal_priority_are_served_in_turn
                a_queue_outside_the_binding_is_never_touched
                a_worker_bound_to_any_queue_never_takes_a_private_ones_jobs
                a_paused_queue_gives_nothing_until_it_is_resumed
                a_claim_gives_no_more_than_was_wanted
                many_claimers_take_every_job_exactly_once
            }
            fencing {
                a_late_verdict_on_an_attempt_that_was_taken_away_changes_nothing
                a_late_verdict_on_a_job_that_runs_elsewhere_changes_nothing
                a_second_settlement_of_the_same_attempt_changes_nothing
                a_settlement_that_is_named_twice_in_one_call_counts_once
                the_same_worker_claiming_the_same_job_again_is_another_attempt
                another_workers_number_settles_nothing
                a_stale_settlement_does_not_hinder_the_others_of_its_call
                a_settlement_whose_reply_was_lost_may_be_sent_again_alone
            }
            drain {
                a_draining_worker_claims_nothing_and_keeps_what_it_runs
                a_draining_worker_settles_and_claims_nothing_in_the_same_call
                a_recalled_worker_claims_again
                a_drain_ends_with_its_lease
                a_renewed_drain_outlasts_its_first_lease
                a_persons_drain_is_not_shortened_by_a_lease
                a_worker_leaves_only_when_idle_and_by_its_drains_number
                a_leaving_worker_cannot_be_recalled_until_it_stays
                a_worker_that_is_unknown_or_dead_finds_the_gate_gone
                drains_and_recalls_name_whom_they_changed
                once_a_drain_has_returned_no_claim_lands
            }
            beats {
                jobs_of_a_claim_whose_answer_was_lost_come_back_by_the_beat
                a_beat_keeps_what_it_names_and_what_is_still_under_way
                a_beat_names_as_lost_what_its_worker_no_longer_holds
                an_older_attempt_at_the_same_job_is_not_the_one_that_runs
                a_beat_brings_the_cancelled_ones_each_time
                a_beat_brings_the_workers_state
                a_beat_renews_the_sign_of_life
                a_dead_workers_beat_changes_nothing
                a_beat_of_an_unknown_worker_says_that_it_must_register
                the_heartbeats_own_handle_beats_like_the_store
            }
            interruptions {
                a_returned_job_has_paid_nothing
                an_interruption_is_counted_and_spends_no_attempt
                at_the_cap_of_interruptions_a_job_is_quarantined
                a_failed_attempt_is_spent_and_kept_with_its_error
                a_snooze_spends_nothing_and_says_why
                attempts_are_shown_in_order_with_their_times
            }
            rescue {
                only_the_silent_are_marked_dead
                the_buried_are_dead_at_once_and_only_once
                a_dead_workers_jobs_run_again_and_no_attempt_is_spent
                a_death_counts_only_for_jobs_that_had_started
                a_death_counts_only_for_the_attempt_that_had_started
                a_death_without_blame_counts_for_no_job
                a_dead_worker_is_shown_while_it_owns_jobs_and_then_no_more
                a_dead_workers_cancelled_job_is_cancelled
                a_suspect_waits_for_a_worker_that_holds_nothing
                suspects_are_handed_out_one_at_a_time
                a_suspect_that_its_own_handler_ends_is_none_any_more
                a_suspect_given_back_is_still_one
                a_job_that_kills_its_process_while_alone_is_quarantined
                the_neighbours_of_a_job_that_kills_are_never_failed
                deaths_count_as_interruptions_and_share_their_cap
                a_second_rescue_finds_nothing
            }
            counters {
                the_counters_agree_with_a_recount_after_any_history
                the_flows_say_what_happened
                what_is_done_by_hand_shows_in_the_depths_and_is_no_flow
                a_stale_settlement_is_not_counted
                each_start_has_its_delay
                lanes_tell_kinds_and_priorities_apart_and_add_up
                the_oldest_waiting_jobs_age_is_shown
                an_emptied_queue_is_still_listed
            }
            retention {
                a_completed_job_is_gone_at_once_by_default
                a_kept_job_shows_its_output_until_it_is_purged
                an_output_of_any_size_is_kept_whole
                a_failed_job_stays_until_someone_decides
                a_failed_job_with_a_retention_is_purged_after_it
                a_job_retried_in_time_is_not_purged
                a_purge_takes_no_more_than_its_limit
            }
            times {
                a_delayed_job_is_never_early
                a_time_that_has_passed_means_now
                the_times_of_a_job_stand_in_order
                a_retry_and_a_snooze_wait_their_time
                a_promoted_job_has_been_claimable_since_it_was_due
                a_job_given_back_is_claimable_since_then
                a_promotion_takes_the_earlier_due_up_to_its_limit
                two_promotions_at_once_promote_each_job_once
                the_clock_goes_on
            }
            enqueue {
                a_bulks_ids_ascend_in_its_order
                one_invalid_job_refuses_the_whole_bulk
                an_empty_bulk_is_nothing
                ten_thousand_jobs_go_in_at_once
                payloads_and_labels_come_out_byte_for_byte
                a_job_is_whole_after_every_move
                every_attribute_reaches_the_worker
                concurrent_bulks_never_share_an_id
                a_transaction_decides_whether_its_jobs_exist
            }
            admin {
                a_filter_narrows_by_each_of_its_fields
                pages_follow_one_another_without_gap_or_repetition
                outstanding_tells_apart_what_is_left
                the_next_due_job_is_told_for_the_binding_asked
                a_worker_is_shown_as_it_registered
                the_job_that_a_worker_has_held_for_longest_is_shown
                a_worker_that_registers_twice_is_one
                a_dead_worker_cannot_register_itself_alive
                a_worker_that_holds_jobs_is_not_deregistered
                two_handles_see_one_store
                migrating_again_changes_nothing
            }
            limits {
                what_is_not_allowed_is_refused_with_a_reason
                what_is_just_allowed_is_taken
                an_error_of_any_length_and_any_character_is_settled
                an_output_of_any_length_and_any_character_is_settled
                an_answer_of_any_length_and_any_character_is_taken
                waits_and_retentions_of_any_length_are_settled
            }
            coalescing {
                a_job_that_waits_takes_in_its_equals
                jobs_of_one_key_in_one_bulk_are_one_job
                concurrent_enqueues_of_one_key_make_one_job
                bulks_of_the_same_keys_in_opposite_orders_pass_each_other
                keep_drops_what_comes_while_the_holder_runs
                what_comes_while_the_holder_runs_runs_once_more_for_all
                concurrent_enqueues_beside_a_running_holder_leave_one_that_waits
                under_pending_a_claimed_job_is_in_nobodys_way
                a_replacement_changes_the_payload_and_the_run_time_both_ways
                a_job_that_waits_for_its_retry_is_replaced
                run_again_is_content_with_a_job_that_waits
                of_a_payload_that_was_replaced_nothing_is_left
                keys_are_their_queues_and_are_compared_by_their_bytes
                a_key_is_taken_only_with_its_job
            }
            keys {
                whatever_ends_a_job_lets_its_key_go
                the_one_that_waits_takes_over_however_the_holder_ends
                a_failed_job_goes_on_holding_its_key_where_its_scope_says_so
                under_pending_a_retry_does_not_take_the_key_back
                a_retry_by_hand_takes_the_key_again
                a_retry_by_hand_is_refused_while_another_holds_the_key
                a_job_that_comes_back_keeps_its_key
                the_one_that_waits_may_be_cancelled_or_deleted
                no_change_is_lost_while_jobs_of_one_key_come_and_go
            }
            bindings {
                a_binding_gets_the_queues_that_its_entries_mean
                outstanding_and_the_next_due_job_are_told_by_prefix
                a_new_queue_that_begins_so_is_found
                queues_of_one_prefix_are_served_in_turn
                a_paused_queue_of_a_prefix_is_passed_over
                a_workers_entries_are_shown_as_it_gave_them
                who_listens_hears_of_jobs_in_the_queues_that_its_entries_mean
            }
            aging {
                without_aging_priorities_are_strict
                a_lane_rises_by_one_priority_for_each_aging
                a_lane_is_as_old_as_its_first_job
                a_job_ages_from_when_it_was_due
                what_ages_keeps_its_order_and_its_binding
            }
            settings {
                a_paused_kind_gives_nothing_until_it_is_resumed
                a_paused_kinds_jobs_are_held_and_come_back_in_their_old_order
                a_deep_paused_kind_hides_nothing_behind_it
                a_pause_and_what_else_holds_a_job_are_apart
                a_retention_is_the_jobs_own_or_its_kinds_or_its_queues
                start_within_says_which_starts_are_late
                the_settings_show_what_was_set
                a_paused_queues_jobs_may_be_moved_by_hand
            }
            actions {
                a_filter_finds_by_each_of_its_fields
                a_filter_tells_old_jobs_from_young_ones
                an_action_takes_what_the_filter_finds_and_nothing_else
                an_action_passes_over_jobs_whose_state_does_not_allow_it
                an_action_goes_page_by_page_to_the_end
                a_retry_of_many_passes_over_those_whose_key_is_taken
                an_action_hands_keys_on
                an_action_gets_those_that_move_meanwhile
                an_action_by_the_queues_handle_counts_what_it_did
            }
            parking {
                a_parked_job_leaves_its_worker_free_and_shows_what_it_waits_for
                a_parked_job_is_no_demand
                only_the_attempt_that_holds_its_job_may_hand_it_over
                a_job_parked_without_a_secret_opens_to_nobody
                a_parked_job_outlives_its_worker
                a_parked_job_is_no_suspect_any_more
                a_job_that_was_cancelled_is_not_parked
                a_parked_job_is_cancelled_at_once_or_deleted_but_not_retried
                filters_and_actions_find_parked_jobs
                a_parked_job_holds_its_key_as_a_running_one_does
                the_counters_follow_a_job_through_its_wait
            }
            answers {
                each_answer_does_what_it_says
                an_answered_job_is_kept_as_long_as_it_was_parked_to_be
                a_retry_spends_an_attempt_and_the_last_one_fails
                an_early_answer_settles_its_job_when_it_parks
                of_early_answers_the_first_that_ends_the_wait_stands
                an_early_answer_goes_with_the_secret_it_came_by
                an_early_end_stands_above_a_cancel_and_nothing_else_does
                an_attempt_that_ends_otherwise_drops_its_secret_and_its_answer
                a_wrong_secret_opens_nothing
                times_beyond_the_limits_are_refused
                of_twenty_answers_at_once_one_wins
                an_answer_that_races_the_park_is_never_lost
            }
            deadlines {
                a_deadline_that_passes_brings_the_job_back_or_fails_it
                the_last_attempt_fails_when_nobody_answers
                a_job_that_nobody_answered_for_takes_its_old_place
                a_wait_is_not_ended_before_its_deadline
                an_expiry_takes_the_earlier_deadlines_up_to_its_limit
                expiries_at_once_end_each_wait_once
                an_answer_a_cancel_and_an_expiry_at_once_end_a_wait_once
                a_key_goes_only_with_the_last_deadline
                a_job_that_comes_back_under_a_pause_is_held_as_any
                who_listens_hears_of_a_job_that_nobody_answered_for
            }
            recent {
                each_priority_shows_how_many_wait_and_for_how_long
                a_promoted_jobs_age_counts_from_when_it_was_due
                suspects_are_counted_apart_from_all_that_is_held
                what_happened_in_the_last_minutes_is_recent
            }
            leases {
                a_lease_is_held_by_one
                a_renewal_keeps_the_number
                a_lease_is_taken_only_after_its_end
                a_lease_that_ran_out_is_another_also_for_its_holder
                a_lease_given_back_is_free_at_once
                of_many_that_ask_at_once_one_gets_it
                what_is_written_under_another_number_is_refused
                what_is_written_after_the_lease_ran_out_is_refused
            }
            pools {
                a_published_pool_is_shown
                publishing_replaces_what_the_lease_made_known_before
                the_pools_of_another_lease_stay
                an_order_stands_until_another_comes
                an_order_ends_at_its_time
                a_beat_tells_the_free_slots_below
                without_an_order_no_beat_tells_of_free_slots
                a_silent_worker_is_not_counted_on
            }
            sparing {
                a_worker_is_told_to_leave_the_kinds_that_outlast_its_grace_to_those_below
                outside_an_ordered_pool_no_kind_is_left
                a_kind_is_as_long_as_its_attempts_were_in_the_workers_own_queues
                long_kinds_are_left_only_while_there_are_slots_below_for_all_of_their_jobs
                only_slots_below_that_claim_are_counted_on
                a_claim_passes_over_what_it_leaves_and_keeps_the_order_of_the_rest
                what_was_passed_over_is_found_in_its_place
                a_settlement_that_comes_with_such_a_claim_counts
                a_job_that_has_waited_for_half_of_its_time_is_anybodys
                a_suspect_is_not_passed_over
            }
            places {
                a_drained_place_drains_every_worker_there
                what_registers_at_a_drained_place_comes_up_draining
                a_place_without_a_worker_is_drained_too
                a_renewed_drain_keeps_its_number_and_a_lapsed_one_gets_another
                the_end_of_a_drain_needs_nobody
                a_persons_drain_covers_the_place_and_stands_above_the_scalers
                a_persons_drain_takes_a_scalers_over
                a_recall_ends_the_drain_of_the_place
                a_restored_place_claims_again
                a_place_belongs_to_its_pool
                a_worker_without_a_place_is_drained_for_itself
                a_forgotten_place_is_open_to_whatever_comes
                once_a_place_is_drained_no_claim_lands
            }
            removals {
                a_place_goes_only_by_its_drains_number
                a_place_whose_drain_has_ended_does_not_go
                a_place_where_a_job_runs_does_not_go
                a_place_that_leaves_is_not_recalled
                what_registers_at_a_leaving_place_comes_up_leaving
                a_leave_ends_with_its_lease
                a_place_that_is_kept_is_drained_again
                a_persons_place_that_is_kept_is_that_persons
                a_leaving_place_that_is_forgotten_is_open_to_whatever_comes
                a_place_never_goes_while_a_job_runs_there
            }
            ledger {
                a_decision_is_shown_as_it_was_taken
                equal_decisions_in_a_row_are_one_entry
                different_decisions_are_entries_of_their_own
                the_ledger_is_read_by_pool_by_time_and_to_a_limit
                a_pools_state_is_remembered_with_its_decision
                a_pools_state_is_remembered_without_a_decision
                a_purge_leaves_what_was_decided_lately
            }
            known {
                scheduled_jobs_are_counted_by_when_they_fall_due
                there_are_at_most_sixty_steps
                what_is_overdue_comes_first
                only_the_queues_that_were_asked_for_count
                paused_queues_and_kinds_are_left_out
                several_bindings_are_asked_at_once
                what_a_worker_could_start_is_told_for_each_binding
                what_has_run_for_a_while_is_told_with_its_kind_and_its_worker
                connections_are_shown_where_there_are_any
            }
        }
    };

    (@tests ($fresh:ident) $($file:ident { $($case:ident)* })*) => {
        $(
            mod $file {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        let fixture = super::$fresh().await.expect("a fresh store opens");
                        let trial = $crate::store::conformance::Trial::new(&fixture);
                        $crate::store::conformance::$file::$case(&trial).await;
                    }
                )*
            }
        )*
    };

    (@names () $($file:ident { $($case:ident)* })*) => {
        &[$((stringify!($file), &[$(stringify!($case)),*])),*]
    };
}

/// Every case: the module and the names in it.
pub const CASES: &[(&str, &[&str])] = conformance_tests! { @list names () };

#[cfg(test)]
mod tests {
    use super::CASES;

    #[test]
    fn every_case_that_is_written_is_run() {
        let sources = [
            ("moves", include_str!("conformance/moves.rs")),
            ("ordering", include_str!("conformance/ordering.rs")),
            ("fencing", include_str!("conformance/fencing.rs")),
            ("drain", include_str!("conformance/drain.rs")),
            ("beats", include_str!("conformance/beats.rs")),
            ("interruptions", include_str!("conformance/interruptions.rs")),
            ("rescue", include_str!("conformance/rescue.rs")),
            ("counters", include_str!("conformance/counters.rs")),
            ("retention", include_str!("conformance/retention.rs")),
            ("times", include_str!("conformance/times.rs")),
            ("enqueue", include_str!("conformance/enqueue.rs")),
            ("admin", include_str!("conformance/admin.rs")),
            ("limits", include_str!("conformance/limits.rs")),
            ("coalescing", include_str!("conformance/coalescing.rs")),
            ("keys", include_str!("conformance/keys.rs")),
            ("bindings", include_str!("conformance/bindings.rs")),
            ("aging", include_str!("conformance/aging.rs")),
            ("settings", include_str!("conformance/settings.rs")),
            ("actions", include_str!("conformance/actions.rs")),
            ("parking", include_str!("conformance/parking.rs")),
            ("answers", include_str!("conformance/answers.rs")),
            ("deadlines", include_str!("conformance/deadlines.rs")),
            ("recent", include_str!("conformance/recent.rs")),
            ("leases", include_str!("conformance/leases.rs")),
            ("pools", include_str!("conformance/pools.rs")),
            ("sparing", include_str!("conformance/sparing.rs")),
            ("places", include_str!("conformance/places.rs")),
            ("removals", include_str!("conformance/removals.rs")),
            ("ledger", include_str!("conformance/ledger.rs")),
            ("known", include_str!("conformance/known.rs")),
        ];
        assert_eq!(sources.map(|(file, _)| file).to_vec(), CASES.iter().map(|(file, _)| *file).collect::<Vec<_>>());
        for ((file, source), (_, listed)) in sources.into_iter().zip(CASES) {
            let written: Vec<&str> =
                source.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next()).collect();
            assert_eq!(&written, listed, "{file}");
        }
    }
}
