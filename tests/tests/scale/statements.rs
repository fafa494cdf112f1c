//! What a tick costs the store: so many statements, however many pools and jobs there are.

use super::*;

/// So many pools that nobody resizes.
fn pools(count: usize) -> String {
    let pool =
        |i| format!("[pool.p{i}]\nqueues = [\"q{i}\"]\nmax = 4\ninterval = \"10s\"\ndriver = {{ noop = {{}} }}\n");
    (0..count).map(pool).collect()
}

/// What a scaler logs that goes round once, and how many statements it has made.
async fn tick(place: &Place, count: usize) -> usize {
    fs::write(place.folder.file("headcount.toml"), pools(count)).unwrap();
    let once = place.headcount("scale --once").env("HEADCOUNT_LOG", "debug").start().ends_well(SOON).await;
    let told = once.stdout() + &once.stderr();
    told.lines().filter(|line| line.contains("sqlx::query")).count()
}

#[tokio::test]
async fn a_tick_makes_no_more_statements_for_more_pools_or_more_jobs() {
    let place = Place::postgres().await;
    // The first tick also makes the pools known, and looks at what the schema is.
    tick(&place, 20).await;
    let (one, many) = (tick(&place, 1).await, tick(&place, 20).await);
    // What another of the store's duties takes its turn at.
    let slack = 5;
    assert!(one > 5, "{one} statements: they are not logged any more");
    assert!(many <= one + slack, "{one} statements for one pool, {many} for twenty");

    // Each pool looks ahead at what its own queues have scheduled.
    for i in 0..20 {
        place.headcount(&format!("enqueue later --queue q{i} --in 5m")).start().ends_well(SOON).await;
    }
    let ahead = tick(&place, 20).await;
    assert!(ahead <= many + slack, "{many} statements without a job, {ahead} with scheduled ones in each queue");

    let lines = "{}\n".repeat(3000);
    place.headcount("enqueue burst --queue q7 --lines").stdin(lines).start().ends_well(SOON).await;
    let full = tick(&place, 20).await;
    assert!(full <= many + slack, "{many} statements without a job, {full} with three thousand");
}
