//! The fake itself: what it does to real processes, and what it answers.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;

const SOON: Duration = Duration::from_secs(30);
/// Ends at TERM, as a good worker.
const GOOD: &str = "trap 'echo bye; exit 0' TERM; echo up $DYNO $COLOUR; tail -f /dev/null & wait";
/// Heeds nothing but KILL.
const STUBBORN: &str = "trap '' TERM; echo up; tail -f /dev/null";

fn shop(script: &str) -> Builder {
    FakeHeroku::app("shop").process("worker", ["sh", "-c", script]).grace(Duration::from_millis(200))
}

/// One request, as bytes go: the status line with the headers, and the body.
async fn ask(heroku: &FakeHeroku, line: &str, more: &str, body: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(heroku.address).await?;
    let head = format!(
        "{line} HTTP/1.1\r\nHost: heroku\r\nConnection: close\r\nAuthorization: Bearer {}\r\nAccept: \
         application/vnd.heroku+json; version=3\r\n{more}Content-Length: {}\r\n\r\n{body}",
        heroku.token(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.to_lowercase(), body.to_owned()))
}

async fn get(heroku: &FakeHeroku, path: &str) -> Value {
    let (head, body) = ask(heroku, &format!("GET {path}"), "", "").await.unwrap();
    assert!(head.starts_with("http/1.1 200"), "{head} {body}");
    serde_json::from_str(&body).unwrap()
}

async fn patch(heroku: &FakeHeroku, quantity: u32) -> (String, String) {
    let body = format!(r#"{{"updates":[{{"type":"worker","quantity":{quantity}}}]}}"#);
    ask(heroku, "PATCH /apps/shop/formation", "", &body).await.unwrap()
}

fn all_up(count: usize) -> impl Fn(&[ListedDyno]) -> bool {
    move |dynos| dynos.len() == count && dynos.iter().all(|dyno| dyno.printed.contains("up"))
}

fn exists(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_quantity_is_so_many_processes_that_know_their_names() {
    let heroku = shop(GOOD).env("COLOUR", "red").start().await;
    let (head, body) = patch(&heroku, 3).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("ratelimit-remaining: 4499"), "{head}");
    let made: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&made[0]["type"], &made[0]["quantity"]), (&"worker".into(), &3.into()));
    let dynos = heroku.until("they are up", SOON, all_up(3)).await;
    let names: Vec<&str> = dynos.iter().map(|dyno| dyno.name.as_str()).collect();
    assert_eq!(names, ["worker.1", "worker.2", "worker.3"]);
    assert_eq!(dynos[1].printed, "up worker.2 red\n");
    let listed = get(&heroku, "/apps/shop/dynos").await;
    assert_eq!((&listed[2]["name"], &listed[2]["state"]), (&"worker.3".into(), &"up".into()));
    assert_eq!(listed[2]["release"]["version"], 1);
}

#[tokio::test]
async fn the_highest_numbers_are_removed_and_the_answer_does_not_wait_for_them() {
    let heroku = shop(STUBBORN).start().await;
    heroku.scale("worker", 4);
    heroku.until("they are up", SOON, all_up(4)).await;
    let (head, _) = patch(&heroku, 2).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(get(&heroku, "/apps/shop/dynos").await.as_array().unwrap().len(), 2, "it lists them no longer");
    assert!(heroku.ended().is_empty(), "their processes still end");
    let ended = heroku.until_ended(2, SOON).await;
    let mut names: Vec<&str> = ended.iter().map(|ended| ended.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["worker.3", "worker.4"]);
    assert!(ended.iter().all(|ended| ended.how == How::Killed && ended.took >= Some(Duration::from_millis(200))));
    assert_eq!(heroku.killed(), ended);
}

#[tokio::test]
async fn term_reaches_every_process_of_a_dyno_and_nothing_outlives_it() {
    let folder = crate::Folder::new();
    let path = folder.file("out");
    // The first process ends once the child has told: what is left of a dyno whose first process has
    // ended is killed at once, heard or not.
    let script = format!(
        "trap 'wait $child; exit 0' TERM; \
         setsid sh -c \"trap 'echo child >> {0}; exit 0' TERM; echo up; tail -f /dev/null & wait\" & child=$!; \
         setsid sh -c \"trap '' TERM; echo up; tail -f /dev/null\" & wait; wait",
        path.display()
    );
    let heroku = shop(&script).start().await;
    heroku.scale("worker", 1);
    heroku.until("both are up", SOON, |dynos| dynos.iter().any(|dyno| dyno.printed == "up\nup\n")).await;
    heroku.scale("worker", 0);
    let ended = heroku.until_ended(1, SOON).await.remove(0);
    assert!(matches!(ended.how, How::Asked(status) if status.success()), "{ended:?}");
    assert!(ended.left_behind >= 1, "the stubborn one was there and was killed: {ended:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "child\n");
}

#[tokio::test]
async fn one_that_ends_when_asked_is_not_among_the_killed() {
    let heroku = shop(GOOD).grace(SOON).start().await;
    heroku.scale("worker", 1);
    heroku.until("it is up", SOON, all_up(1)).await;
    heroku.scale("worker", 0);
    let ended = heroku.until_ended(1, SOON).await.remove(0);
    assert!(matches!(ended.how, How::Asked(status) if status.code() == Some(0)), "{ended:?}");
    assert_eq!(ended.printed(), "up worker.1\nbye\n");
    assert_eq!(heroku.killed(), []);
}

#[tokio::test]
async fn a_cycled_dyno_has_its_successor_beside_it_while_it_ends() {
    let heroku = shop(STUBBORN).lists_ending().grace(SOON).start().await;
    heroku.scale("worker", 1);
    let old = heroku.until("it is up", SOON, all_up(1)).await.remove(0);
    heroku.cycle("worker.1");
    let both = heroku.until("both are up", SOON, all_up(2)).await;
    assert!(both.iter().all(|dyno| dyno.name == "worker.1"));
    assert_eq!((both[0].pid, both[0].state), (old.pid, State::Ending));
    assert_eq!(both[1].state, State::Up);
    assert_eq!(get(&heroku, "/apps/shop/dynos").await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_dyno_cycled_in_turn_has_no_successor_before_it_has_ended() {
    let heroku = shop(GOOD).grace(SOON).start().await;
    heroku.scale("worker", 1);
    let old = heroku.until("it is up", SOON, all_up(1)).await.remove(0);
    heroku.cycle_in_turn("worker.1");
    let new = heroku.until("the other is up", SOON, |dynos| all_up(1)(dynos) && dynos[0].pid != old.pid).await;
    assert_eq!(heroku.ended().len(), 1);
    assert_eq!(new[0].name, "worker.1");
}

#[tokio::test]
async fn a_release_replaces_every_dyno() {
    let heroku = shop(GOOD).start().await;
    heroku.scale("worker", 2);
    heroku.until("they are up", SOON, all_up(2)).await;
    assert_eq!(heroku.release(), 2);
    heroku.until_ended(2, SOON).await;
    let dynos = heroku.until("the new ones are up", SOON, all_up(2)).await;
    assert!(dynos.iter().all(|dyno| dyno.release == 2));
    assert!(heroku.ended().iter().all(|ended| ended.release == 1));
}

#[tokio::test]
async fn a_crashed_dyno_is_started_again_once_and_then_it_waits() {
    let heroku = shop(GOOD).start().await;
    heroku.scale("worker", 1);
    heroku.until("it is up", SOON, all_up(1)).await;
    heroku.crash("worker.1");
    heroku.until_ended(1, SOON).await;
    heroku.until("it is up again", SOON, all_up(1)).await;
    heroku.crash("worker.1");
    let ended = heroku.until_ended(2, SOON).await;
    assert!(ended.iter().all(|ended| ended.how == How::Crashed));
    assert_eq!(get(&heroku, "/apps/shop/dynos").await[0]["state"], "crashed");
    heroku.revive("worker.1");
    heroku.until("it is up again", SOON, all_up(1)).await;
    assert_eq!(heroku.killed(), [], "nobody told it to end");
}

#[tokio::test]
async fn a_process_that_ends_by_itself_is_told_so() {
    let heroku = shop("exit 3").start().await;
    heroku.scale("worker", 1);
    let ended = heroku.until_ended(2, SOON).await;
    assert!(ended.iter().all(|ended| matches!(ended.how, How::Itself(status) if status.code() == Some(3))));
    heroku.scale("worker", 0);
    assert!(heroku.dynos().is_empty(), "a crashed dyno has nothing left that could end");
}

#[tokio::test]
async fn a_dyno_removed_while_it_boots_never_has_a_process() {
    let heroku = shop(GOOD).boot(SOON * 100).start().await;
    heroku.scale("worker", 2);
    assert_eq!(get(&heroku, "/apps/shop/dynos").await[1]["state"], "starting");
    heroku.scale("worker", 0);
    heroku.until("they are gone", SOON, <[_]>::is_empty).await;
    assert!(heroku.ended().is_empty());
}

#[tokio::test]
async fn dropping_it_kills_every_process_even_those_that_end() {
    let heroku = shop(STUBBORN).grace(SOON).start().await;
    heroku.scale("worker", 3);
    let pids: Vec<u32> =
        heroku.until("they are up", SOON, all_up(3)).await.into_iter().filter_map(|dyno| dyno.pid).collect();
    heroku.scale("worker", 1);
    assert!(pids.len() == 3 && pids.iter().all(|pid| exists(*pid)));
    drop(heroku);
    eventually("they are gone", SOON, async || {
        let left: Vec<_> = pids.iter().filter(|pid| exists(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test]
async fn faults_come_in_their_order_and_once() {
    let heroku = shop(GOOD).start().await;
    heroku.fail(Call::Update, Fault::status(503));
    heroku.fail(Call::Update, Fault::status(429).retry_after("7"));
    heroku.fail(Call::Update, Fault::Malformed("<html>".into()));
    heroku.fail(Call::Update, Fault::status(500).once_done());
    assert_eq!(heroku.faults_left(), 4);
    get(&heroku, "/apps/shop/formation").await;
    assert!(patch(&heroku, 1).await.0.starts_with("http/1.1 503"));
    let (head, body) = patch(&heroku, 1).await;
    assert!(head.starts_with("http/1.1 429") && head.contains("retry-after: 7"), "{head}");
    assert!(body.contains("rate_limit"), "{body}");
    assert_eq!(patch(&heroku, 1).await.1, "<html>");
    assert_eq!(heroku.quantity("worker"), 0, "none of these was done");
    assert!(patch(&heroku, 1).await.0.starts_with("http/1.1 500"));
    assert_eq!((heroku.quantity("worker"), heroku.faults_left()), (1, 0), "this one was");
    assert_eq!(
        heroku.requests().iter().map(|request| request.status.unwrap()).collect::<Vec<_>>(),
        [200, 503, 429, 200, 500]
    );
    assert_eq!(heroku.updates().len(), 4);
}

#[tokio::test]
async fn a_connection_can_be_reset_or_left_without_an_answer() {
    let heroku = shop(GOOD).start().await;
    heroku.fail(Call::Update, Fault::Reset);
    let body = r#"{"updates":[]}"#;
    let reset = ask(&heroku, "PATCH /apps/shop/formation", "", body).await.unwrap_err();
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    heroku.fail(Call::Update, Fault::Silence.once_done());
    let silent = tokio::time::timeout(Duration::from_millis(300), patch(&heroku, 1)).await;
    assert!(silent.is_err());
    assert_eq!(heroku.quantity("worker"), 1, "it was done all the same");
}

#[tokio::test]
async fn requests_cost_tokens_except_the_question_for_them() {
    let heroku = shop(GOOD).tokens(1).start().await;
    assert_eq!(get(&heroku, "/account/rate-limits").await["remaining"], 1);
    get(&heroku, "/apps/shop/formation").await;
    assert!(ask(&heroku, "GET /apps/shop/dynos", "", "").await.unwrap().0.starts_with("http/1.1 429"));
    assert_eq!(get(&heroku, "/account/rate-limits").await["remaining"], 0);
}

#[tokio::test]
async fn a_limit_is_all_or_nothing() {
    let heroku = shop(GOOD).process("other", ["true"]).most("worker", 2).start().await;
    let body = r#"{"updates":[{"type":"other","quantity":1},{"type":"worker","quantity":3}]}"#;
    let (head, answer) = ask(&heroku, "PATCH /apps/shop/formation", "", body).await.unwrap();
    assert!(head.starts_with("http/1.1 422"), "{head}");
    assert!(answer.contains("cannot_update_above_limit") && answer.contains("\"limit\":2"), "{answer}");
    assert_eq!((heroku.quantity("other"), heroku.quantity("worker")), (0, 0));
}

#[tokio::test]
async fn a_process_type_at_zero_may_be_hidden_and_comes_back_by_the_batch_update() {
    let heroku = shop(GOOD).hides_empty().start().await;
    assert_eq!(get(&heroku, "/apps/shop/formation").await, Value::Array(Vec::new()));
    assert!(ask(&heroku, "GET /apps/shop/formation/worker", "", "").await.unwrap().0.starts_with("http/1.1 404"));
    assert!(patch(&heroku, 1).await.0.starts_with("http/1.1 200"));
    assert_eq!(get(&heroku, "/apps/shop/formation/worker").await["quantity"], 1);
    assert!(patch(&heroku, 0).await.1.contains("\"quantity\":0"));
}

#[tokio::test]
async fn a_long_list_comes_in_parts() {
    let heroku = shop(GOOD).page(2).boot(SOON * 100).start().await;
    heroku.scale("worker", 3);
    let (head, body) = ask(&heroku, "GET /apps/shop/dynos", "", "").await.unwrap();
    assert!(head.starts_with("http/1.1 206") && head.contains("next-range: id ]2..; max=2"), "{head}");
    assert!(body.contains("worker.2") && !body.contains("worker.3"));
    let rest = ask(&heroku, "GET /apps/shop/dynos", "Range: id ]2..; max=2\r\n", "").await.unwrap();
    assert!(rest.0.starts_with("http/1.1 200") && rest.1.contains("worker.3"), "{rest:?}");
}

#[tokio::test]
async fn what_is_against_the_schema_fails_the_test() {
    let heroku = shop(GOOD).start().await;
    for (line, body) in [
        ("PATCH /apps/shop/formation", r#"{"updates":[{"type":"worker","quantity":"+1"}]}"#),
        ("PUT /apps/shop/formation", ""),
        ("GET /apps/shop/dynos", "{}"),
    ] {
        assert!(ask(&heroku, line, "", body).await.unwrap().0.starts_with("http/1.1 400"), "{line}");
    }
    assert_eq!(heroku.take_violations().len(), 3);
    ask(&heroku, "PUT /apps/shop/formation", "", "").await.unwrap();
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(heroku)));
    assert!(dropped.is_err());
}
