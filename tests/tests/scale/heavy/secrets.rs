//! Secrets come from the environment and go nowhere: not into a log that tells everything, not into the store, not into
//! an error, and not into the environment of a handler or of a program of the user's own.

use std::sync::Arc;

use headcount_tests::{
    Aws, Database, FakeHeroku, Process, Program,
    heroku::{Call, Fault},
    moto,
    process::headcount,
};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use super::*;

/// The keys that the scaler has. Those of Heroku are told apart by the test that uses them.
const KEYS: [(&str, &str); 6] = [
    ("HEROKU_API_KEY", "s3cret-of-another-app"),
    ("SHOP_TOKEN", "f4ke-h3roku-t0ken"),
    ("AWS_ACCESS_KEY_ID", "AKIATEST"),
    ("AWS_SECRET_ACCESS_KEY", "s3cret-of-aws"),
    ("AWS_SESSION_TOKEN", "s3cret-of-the-session"),
    ("DATABASE_URL", "postgres://shop:s3cret-of-the-shop@127.0.0.1:1/shop"),
];
/// Shows its environment to the test.
const JOB: &str = "env >$JOBS/env.$HEADCOUNT_JOB_ID";
/// A pool whose token has a name of its own, on a Heroku that cannot be reached.
const UNREACHABLE: &str = "[pool.shop]\nqueues = [\"shop\"]\nmax = 1\ninterval = \"300ms\"\ntoken_env = \"SHOP_TOKEN\"\n\
     driver = { heroku = { app = \"shop\", process = \"worker\" } }\n";

/// A store with a password, and the secrets that nobody may be shown.
struct Vault {
    place: Arc<Place>,
    connection: PgConnection,
    secrets: Vec<String>,
}

impl Vault {
    async fn new() -> Self {
        let database = Database::fresh().await;
        let connection = database.connect().await;
        let place = Arc::new(Place::on(database));
        let (user, _) = place.url.split_once('@').unwrap();
        let (_, password) = user.rsplit_once(':').unwrap();
        let secret =
            |text: &str| text.rsplit_once('@').map_or(text, |(user, _)| user.rsplit(':').next().unwrap()).into();
        let keys = KEYS.iter().filter(|(name, _)| *name != "AWS_ACCESS_KEY_ID").map(|(_, value)| secret(value));
        let secrets = keys.chain([password.to_owned()]).collect();
        Self { place, connection, secrets }
    }

    /// A scaler of these pools that tells everything, with all keys.
    fn scaler(&self, pools: &str, more: &[(&str, &str)]) -> Process {
        fs::write(self.place.folder.file("headcount.toml"), pools).unwrap();
        let all = KEYS.iter().chain(more);
        loud(all.fold(self.place.headcount("scale"), |program, (name, value)| program.env(name, value))).start()
    }

    /// Ends the scaler and looks for secrets in all that it and others have shown.
    async fn keeps(mut self, mut scaler: Process, more: Vec<String>) {
        assert!(scaler.signal(Signal::TERM));
        let ended = scaler.ends_well(SOON).await;
        let log = ended.stdout();
        assert!(log.contains("DEBUG"), "it tells everything");
        let shown = [("its log", log), ("its errors", ended.stderr()), ("the store", self.stored().await)];
        let (environments, names) = self.environments();
        assert!(!environments.is_empty());
        let told = self.place.says("why shop -n 1000 --json").await.stdout();
        let more = more.into_iter().map(|text| ("a worker's log", text)).chain([("why", told)]);
        for (whose, text) in shown.into_iter().chain(more).chain([("an environment", environments)]) {
            for secret in &self.secrets {
                let at = text.find(secret.as_str());
                let around = at.map(|at| text[..at].chars().rev().take(300).collect::<Vec<_>>());
                let around = around.map(|around| around.into_iter().rev().collect::<String>());
                assert_eq!(around, None, "{whose} shows {secret} after this");
            }
        }
        assert!(names.iter().all(|names| names.contains("PATH")), "{names:?}");
    }

    /// Every row of every table.
    async fn stored(&mut self) -> String {
        let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'headcount'";
        let mut rows = String::new();
        for table in self.connection.fetch_all(tables).await.unwrap() {
            let table: String = table.get(0);
            let all = format!("SELECT t::text FROM headcount.{table} t");
            for row in self.connection.fetch_all(AssertSqlSafe(all)).await.unwrap() {
                rows.extend([table.as_str(), " ", row.get::<&str, _>(0), "\n"]);
            }
        }
        rows
    }

    /// What handlers and programs have seen of their environment.
    fn environments(&self) -> (String, Vec<String>) {
        let entries = fs::read_dir(self.place.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("env."));
        let all: Vec<String> = files.map(|path| fs::read_to_string(path).unwrap()).collect();
        (all.concat(), all)
    }
}

/// With a log of everything there is to tell.
fn loud(program: Program) -> Program {
    program.env("HEADCOUNT_LOG", "trace").env("RUST_LOG", "trace")
}

fn pool_on(driver: &str) -> String {
    format!(
        "[pool.shop]\nqueues = [\"local\"]\nmax = 1\npolicy = \"linear\"\ninterval = \"300ms\"\nremove_after = \"300ms\"\n\
         idle_to_zero = \"1s\"\n{driver}\n"
    )
}

#[tokio::test]
async fn no_secret_of_herokus_is_shown_whatever_it_answers() {
    let vault = Vault::new().await;
    let place = &vault.place;
    let job = place.handler(JOB);
    let program = headcount().display().to_string();
    let mut heroku = FakeHeroku::app("shop")
        .process("worker", [program.as_str(), "work", "--exec", job.as_str(), "--slots", "1"])
        .env("HEADCOUNT_URL", &place.url)
        .env("HEADCOUNT_POOL", "shop")
        .env("HEADCOUNT_LOG", "trace")
        .env("JOBS", place.folder.path());
    // On the app itself the scaler's token would have the name that Heroku gives it.
    for (name, value) in KEYS.iter().filter(|(name, _)| *name != "SHOP_TOKEN") {
        heroku = heroku.env(name, value);
    }
    let heroku = heroku.start().await;
    let malformed = Fault::Malformed(format!("{{\"{}", heroku.token()));
    for fault in [Fault::status(401), Fault::Reset, Fault::status(500), malformed] {
        heroku.fail(Call::Formation, fault);
    }
    heroku.fail(Call::Update, Fault::status(401));
    heroku.fail(Call::Update, Fault::Reset);
    let driver = "token_env = \"SHOP_TOKEN\"\ndriver = { heroku = { app = \"shop\", process = \"worker\" } }";
    let scaler = vault.scaler(&pool_on(driver), &[("HEROKU_API_URL", &heroku.url())]);
    enqueue(place, 1).await;
    eventually("the work is done and no dyno is left", LONG, async || {
        let (left, dynos, faults) = (place.states().await, heroku.dynos(), heroku.faults_left());
        if left.is_empty() && dynos.is_empty() && faults == 0 { Ok(()) } else { Err((left, dynos, faults)) }
    })
    .await;
    let printed = heroku.ended().iter().map(headcount_tests::heroku::EndedDyno::printed).collect();
    vault.keeps(scaler, printed).await;
}

#[tokio::test]
async fn no_secret_of_awss_is_shown_whatever_it_answers() {
    let vault = Vault::new().await;
    let aws = Aws::fresh().await;
    let group = aws.group(0..=1, 0).await;
    let (handler, place) = (vault.place.handler(JOB), Arc::clone(&vault.place));
    aws.workers(move |_| {
        let work = place.headcount(&format!("work --exec {handler} --slots 1 --pool shop"));
        let work = work.env("JOBS", place.folder.path());
        loud(KEYS.iter().fold(work, |program, (name, value)| program.env(name, value)).env("SHOP_TOKEN", ""))
    });
    aws.faults("DescribeAutoScalingGroups", [moto::Fault::DENIED, moto::Fault::Malformed, moto::Fault::Reset]);
    aws.faults("SetDesiredCapacity", [moto::Fault::CONTENTION, moto::Fault::DoneThenFailed]);
    let driver = format!("driver = {{ aws = {{ group = \"{group}\" }} }}");
    let more = [("AWS_ENDPOINT_URL", aws.endpoint()), ("AWS_REGION", aws.region())];
    let scaler = vault.scaler(&pool_on(&driver), &more);
    enqueue(&vault.place, 1).await;
    eventually("the work is done and no instance is left", LONG, async || {
        let (left, instances) = (vault.place.states().await, aws.look(&group).await);
        if left.is_empty() && instances.1.is_empty() { Ok(()) } else { Err((left, instances)) }
    })
    .await;
    vault.keeps(scaler, Vec::new()).await;
}

#[tokio::test]
async fn a_local_workers_handler_sees_no_key_of_a_platform() {
    let vault = Vault::new().await;
    let place = &vault.place;
    let driver = format!(
        "driver = {{ local = {{ command = [\"{}\", \"work\", \"--exec\", \"{}\", \"--slots\", \"1\"] }} }}",
        headcount().display(),
        place.handler(JOB)
    );
    let pools = pool_on(&driver).replace("[pool.shop]", "[pool.here]") + UNREACHABLE;
    let jobs = place.folder.path().to_str().unwrap();
    let scaler = vault.scaler(&pools, &[("HEROKU_API_URL", "http://127.0.0.1:1"), ("JOBS", jobs)]);
    enqueue(place, 2).await;
    until_done(place).await;
    vault.keeps(scaler, Vec::new()).await;
}

#[tokio::test]
async fn the_programs_of_the_command_driver_see_no_key_of_a_platform() {
    let vault = Vault::new().await;
    let place = &vault.place;
    let program = |name: &str, answer: &str| {
        let path = place.folder.file(name);
        // The first call fails, and what it complains of is all that it sees.
        let script =
            format!("if [ ! -e env.{name} ]; then env >env.{name}; cat env.{name} >&2; exit 1; fi\necho '{answer}'");
        fs::rename(place.handler(&script), &path).unwrap();
        path.display().to_string()
    };
    let (status, set) =
        (program("status", r#"{"desired": 0, "instances": []}"#), program("set", r#"{"refused": "there is no room"}"#));
    let driver = format!("driver = {{ command = {{ status = [\"{status}\"], set = [\"{set}\"] }} }}");
    let pools = pool_on(&driver).replace("[pool.shop]", "[pool.here]") + UNREACHABLE;
    let scaler = vault.scaler(&pools, &[("HEROKU_API_URL", "http://127.0.0.1:1")]);
    enqueue(place, 1).await;
    eventually("both were called and have answered", SOON, async || {
        let told = place.headcount("why here -n 100").start().ends(SOON).await.stdout();
        if told.contains("there is no room") { Ok(()) } else { Err(told) }
    })
    .await;
    vault.keeps(scaler, Vec::new()).await;
}
