//! A case of the suite for each sort of statement, on a store whose tables are in another schema than the one they are
//! written for, beside tables that are in that.

use headcount_queue::{
    Result,
    store::conformance::{self, Fixture, Trial},
};
use headcount_tests::PostgresFixture;

async fn fresh() -> Result<PostgresFixture> {
    let fixture = PostgresFixture::fresh("?schema=jobs_test").await?;
    fixture.store().migrate().await?;
    Ok(fixture)
}

/// The whole suite again would take minutes, and a statement that names the wrong schema fails the first time it runs.
macro_rules! cases {
    ($($file:ident::$case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = fresh().await.expect("a fresh store opens");
                conformance::$file::$case(&Trial::new(&fixture)).await;
            }
        )*
    };
}

cases! {
    enqueue::a_job_is_whole_after_every_move
    enqueue::a_transaction_decides_whether_its_jobs_exist
    fencing::a_settlement_whose_reply_was_lost_may_be_sent_again_alone
    answers::each_answer_does_what_it_says
    answers::an_early_answer_settles_its_job_when_it_parks
    deadlines::a_deadline_that_passes_brings_the_job_back_or_fails_it
    drain::a_leaving_worker_cannot_be_recalled_until_it_stays
    rescue::a_job_that_kills_its_process_while_alone_is_quarantined
    counters::the_counters_agree_with_a_recount_after_any_history
    retention::a_kept_job_shows_its_output_until_it_is_purged
    admin::migrating_again_changes_nothing
    leases::what_is_written_under_another_number_is_refused
    places::a_recall_ends_the_drain_of_the_place
    removals::a_place_that_is_kept_is_drained_again
    pools::a_beat_tells_the_free_slots_below
    ledger::a_purge_leaves_what_was_decided_lately
    known::paused_queues_and_kinds_are_left_out
    known::connections_are_shown_where_there_are_any
}
