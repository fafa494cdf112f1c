//! Which platform a pool lives on, and where else its numbers may come from.

use std::{fmt, time::Duration};

use super::{
    mistake::meant,
    section::{At, Section},
};

/// The environment variable that holds Heroku's token, where none is named.
pub const HEROKU_TOKEN_ENV: &str = "HEROKU_API_KEY";

const DRIVERS: [&str; 5] = ["heroku", "aws", "local", "command", "noop"];
const EXAMPLE: &str = "{ heroku = { app = \"acme\", process = \"worker\" } }";

/// The platform of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverConfig {
    /// Dynos of a Heroku app.
    Heroku {
        /// The app.
        app: String,
        /// The process type, as in the Procfile.
        process: String,
        /// The environment variable that holds the token.
        token_env: String,
    },
    /// Instances of an AWS Auto Scaling group.
    Aws {
        /// The group.
        group: String,
        /// The region; `None`: as the environment says.
        region: Option<String>,
        /// The role to take on; `None`: none.
        role_arn: Option<String>,
        /// The profile of the credentials' file; `None`: the default.
        profile: Option<String>,
    },
    /// Processes on this machine.
    Local {
        /// The program and its arguments; `None`: workers of this very program, for this pool.
        command: Option<Vec<String>>,
        /// How long a worker that was told to end may take.
        grace: Duration,
    },
    /// Any platform, by programs of the user's own.
    Command {
        /// The program that says what is there, with its arguments.
        status: Vec<String>,
        /// The program that changes it, with its arguments.
        set: Vec<String>,
        /// How long a call may take.
        timeout: Duration,
    },
    /// None: somebody else starts the workers.
    Noop,
}

/// A source of a pool's numbers other than the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// The query: one row with `pending`, `oldest_s` and `running`.
    pub sql: String,
    /// The environment variable that holds the database's URL.
    pub url_env: String,
    /// How long the query may take.
    pub timeout: Duration,
}

/// Reads `driver = { heroku = { … } }`.
pub(super) fn driver(pool: &Section<'_>) -> Option<DriverConfig> {
    let token_env = pool.variable("token_env", HEROKU_TOKEN_ENV);
    let section = pool.require("driver", pool.section("driver", EXAMPLE), &format!("write driver = {EXAMPLE}"))?;
    let entries = section.entries();
    let [((name, at), _)] = entries.as_slice() else {
        section.notes.wrong(
            &section.at,
            format!("a pool has one driver, one of {}: write driver = {EXAMPLE}", DRIVERS.join(", ")),
        );
        return None;
    };
    let found = match *name {
        "heroku" => heroku(&section, token_env.clone()),
        "aws" => aws(&section),
        "local" => local(&section),
        "command" => command(&section),
        "noop" => noop(&section),
        other => {
            let remedy = meant(other, DRIVERS).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let known = DRIVERS.join(", ");
            section.notes.wrong(at, format!("there is no driver `{other}`, there are {known}{remedy}"));
            None
        }
    };
    if let (Some((_, at)), false) = (token_env, *name == "heroku") {
        pool.notes.wrong(&at, format!("`token_env` is for a heroku driver, and this pool's is {name}: leave it out"));
    }
    found
}

fn heroku(driver: &Section<'_>, of_pool: Option<At<&str>>) -> Option<DriverConfig> {
    let heroku = driver.section("heroku", "{ app = \"acme\", process = \"worker\" }")?;
    let app = heroku.require("app", heroku.text("app"), "write app = \"NAME\", as Heroku calls it");
    let process = heroku.require("process", heroku.text("process"), "write process = \"worker\", as in the Procfile");
    let token_env = heroku.variable("token_env", HEROKU_TOKEN_ENV).or(of_pool);
    heroku.finish();
    Some(DriverConfig::Heroku {
        app: app?.0.to_owned(),
        process: process?.0.to_owned(),
        token_env: token_env.map_or(HEROKU_TOKEN_ENV, |(name, _)| name).to_owned(),
    })
}

fn aws(driver: &Section<'_>) -> Option<DriverConfig> {
    let aws = driver.section("aws", "{ group = \"acme-batch\", region = \"eu-west-1\" }")?;
    let group = aws.require("group", aws.text("group"), "write group = \"NAME\", the Auto Scaling group");
    let text = |key| aws.text(key).map(|(text, _): At<&str>| text.to_owned());
    let (region, role_arn, profile) = (text("region"), text("role_arn"), text("profile"));
    aws.finish();
    Some(DriverConfig::Aws { group: group?.0.to_owned(), region, role_arn, profile })
}

fn local(driver: &Section<'_>) -> Option<DriverConfig> {
    let local = driver.section("local", "{ command = [\"headcount\", \"work\"] }")?;
    let command = local.words("command", "[\"headcount\", \"work\"]");
    let grace = local.duration("grace").map_or(Duration::from_secs(30), |(grace, _)| grace);
    local.finish();
    Some(DriverConfig::Local { command: command.map(owned), grace })
}

fn command(driver: &Section<'_>) -> Option<DriverConfig> {
    let command = driver.section("command", "{ status = [\"./status\"], set = [\"./set\"] }")?;
    let status = command.words("status", "[\"./status\"]");
    let status = command.require("status", status, "name the program that says what is there");
    let set = command.words("set", "[\"./set\"]");
    let set = command.require("set", set, "name the program that changes it");
    let timeout = timeout(&command);
    command.finish();
    Some(DriverConfig::Command { status: owned(status?), set: owned(set?), timeout: timeout? })
}

fn noop(driver: &Section<'_>) -> Option<DriverConfig> {
    driver.section("noop", "{}")?.finish();
    Some(DriverConfig::Noop)
}

/// Reads `source = { sql = "…", url_env = "…" }`.
pub(super) fn source(pool: &Section<'_>) -> Option<SourceConfig> {
    const EXAMPLE: &str = "{ sql = \"…\", url_env = \"QUEUE_DATABASE_URL\" }";
    let source = pool.section("source", EXAMPLE)?;
    let remedy = "a query of one row with the columns pending, oldest_s and running";
    let sql = source.require("sql", source.text("sql"), remedy);
    let url_env = source.variable("url_env", "QUEUE_DATABASE_URL");
    let remedy = "name the environment variable that holds the database's URL";
    let url_env = source.require("url_env", url_env, remedy);
    let timeout = timeout(&source);
    source.finish();
    Some(SourceConfig { sql: sql?.0.to_owned(), url_env: url_env?.0.to_owned(), timeout: timeout? })
}

/// A call's time limit: long enough to happen, and so short that a tick does not wait for it for ever. Default 5 s.
fn timeout(section: &Section<'_>) -> Option<Duration> {
    let Some((timeout, at)) = section.duration("timeout") else {
        return (!section.has("timeout")).then_some(Duration::from_secs(5));
    };
    if !(Duration::from_millis(100)..=Duration::from_mins(1)).contains(&timeout) {
        section.notes.wrong(&at, "`timeout` is from 100ms to 1m: the scaler waits for it in every tick");
        return None;
    }
    Some(timeout)
}

fn owned((words, _): At<Vec<At<&str>>>) -> Vec<String> {
    words.into_iter().map(|(word, _)| word.to_owned()).collect()
}

impl fmt::Display for DriverConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heroku { app, process, token_env } => {
                write!(f, "heroku: {process} of {app}, token in {token_env}")
            }
            Self::Aws { group, region, role_arn, profile } => {
                write!(f, "aws: group {group}")?;
                region.as_ref().map_or(Ok(()), |region| write!(f, " in {region}"))?;
                role_arn.as_ref().map_or(Ok(()), |role| write!(f, ", as {role}"))?;
                profile.as_ref().map_or(Ok(()), |profile| write!(f, ", profile {profile}"))
            }
            Self::Local { command, grace } => {
                f.write_str("local: ")?;
                match command {
                    Some(command) => f.write_str(&command.join(" "))?,
                    None => f.write_str("workers of this program")?,
                }
                write!(f, ", {} to end", humantime::format_duration(*grace))
            }
            Self::Command { status, set, timeout } => write!(
                f,
                "command: {} and {}, {} each",
                status.join(" "),
                set.join(" "),
                humantime::format_duration(*timeout)
            ),
            Self::Noop => f.write_str("noop"),
        }
    }
}

impl fmt::Display for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a query, the database in {}, within {}", self.url_env, humantime::format_duration(self.timeout))
    }
}
