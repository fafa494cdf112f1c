use super::*;
use crate::{Folder, eventually};

async fn tables(database: &Database) -> Vec<String> {
    let sql = "SELECT table_schema || '.' || table_name FROM information_schema.tables \
               WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&mut database.connect().await).await.unwrap()
}

#[tokio::test]
async fn an_empty_database_is_empty_and_alone() {
    let (one, other) = (Database::empty().await, Database::empty().await);
    assert_eq!(tables(&one).await, [""; 0]);
    one.connect().await.execute("CREATE TABLE mine (id int)").await.unwrap();
    assert_eq!(tables(&one).await, ["public.mine"]);
    assert_eq!(tables(&other).await, [""; 0]);
}

#[tokio::test]
async fn a_dropped_database_is_gone_although_someone_is_connected() {
    let database = Database::empty().await;
    let name = database.name().to_owned();
    let mut open = database.connect().await;
    let mut look = Server::shared().await.connect().await;
    let sql = "SELECT count(*) FROM pg_database WHERE datname = $1";
    let mut count = async || sqlx::query_scalar::<_, i64>(sql).bind(&name).fetch_one(&mut look).await.unwrap();
    assert_eq!(count().await, 1);
    drop(database);
    assert_eq!(count().await, 0);
    open.execute("SELECT 1").await.unwrap_err();
}

#[tokio::test]
async fn a_private_server_keeps_what_was_committed_through_a_crash_and_goes_at_the_end() {
    let server = Server::private().await;
    let database = server.empty_database().await;
    let mut connection = database.connect().await;
    connection.execute("CREATE TABLE mine AS SELECT 7 AS id").await.unwrap();

    server.stop_immediately().await;
    connection.execute("SELECT 1").await.unwrap_err();
    PgConnection::connect(database.url()).await.unwrap_err();

    server.start().await;
    let id: i32 = sqlx::query_scalar("SELECT id FROM mine").fetch_one(&mut database.connect().await).await.unwrap();
    assert_eq!(id, 7);

    // The first line of this file is the number of the server's process.
    let sql = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";
    let pid: String = sqlx::query_scalar(sql).fetch_one(&mut database.connect().await).await.unwrap();
    let command = || std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(command().contains("headcount-postgres"), "{}", command());
    drop(database);
    drop(server);
    assert_eq!(command(), "");
}

#[tokio::test]
async fn a_private_server_goes_when_its_holder_is_killed() {
    let folder = Folder::new();
    // Started by root, the server has another owner, who must reach it.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    // `tail` holds the pipe open, as a test does; the shell's children are killed before they could do anything.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/private-postgres");
    let holder = folder.program("sh", ["-c", "tail -f /dev/null | setsid \"$0\"", script]).start();
    let url = holder.line("it starts", Duration::from_mins(1), |line| line.starts_with("postgres://")).await;
    PgConnection::connect(&url).await.unwrap();
    let tail = holder.tree().into_iter().find(|member| member.command.starts_with("tail")).unwrap();
    let tail = rustix::process::Pid::from_raw(tail.pid as i32).unwrap();
    rustix::process::kill_process(tail, rustix::process::Signal::KILL).unwrap();
    eventually("nothing of it runs or lies about", Duration::from_secs(30), async || {
        let lies: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        if holder.tree().is_empty() && lies.is_empty() { Ok(()) } else { Err((holder.tree(), lies)) }
    })
    .await;
    PgConnection::connect(&url).await.unwrap_err();
}

#[test]
fn a_database_is_named_in_any_address() {
    for (admin, url) in [
        ("postgres://u:p@h:1/postgres", "postgres://u:p@h:1/x"),
        ("postgres://h", "postgres://h/x"),
        ("postgres:///postgres?host=/run/pg", "postgres:///x?host=/run/pg"),
    ] {
        let server = Server { admin: admin.into(), script: None, template: OnceCell::new() };
        assert_eq!(server.url("x"), url);
    }
}
