//! Which variables a handler does not inherit: the store's address and the keys of the platform.
//!
//! A worker needs them, its handlers seldom do, and a job's payload may come from anywhere. What a handler does need is
//! named with `--pass-env`.

use std::ffi::{OsStr, OsString};

use crate::env::Env;

/// The worker's own variables begin so.
const OWN: &str = "HEADCOUNT_";

/// Variables whose name begins so: the worker's own, the platforms' keys, and libpq's.
const PREFIXES: [&str; 4] = [OWN, "AWS_", "HEROKU_", "PG"];

/// Variables whose name ends so, or is this without the underscore: databases.
const DATABASE_URL: &str = "_DATABASE_URL";

/// Addresses of databases and brokers: removed, under whatever name, where they hold a password.
const SCHEMES: [&str; 12] = [
    "postgres",
    "postgresql",
    "mysql",
    "mysql2",
    "mariadb",
    "sqlserver",
    "mongodb",
    "mongodb+srv",
    "redis",
    "rediss",
    "amqp",
    "amqps",
];

/// The variables of this environment that a handler does not inherit, sorted. `pass` names exceptions; one that ends
/// with `*` names all that begin so.
pub(in crate::commands) fn withheld(env: &Env, pass: &[String]) -> Vec<OsString> {
    env.all()
        .filter(|(name, value)| is_secret(name, value) && !is_passed(name, pass))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The worker's own variables among them: all that is withheld from a command that the user started himself, with
/// `headcount run`, and that is to find the rest as it would under `xargs`.
pub(super) fn own(env: &Env, pass: &[String]) -> Vec<OsString> {
    let mut names = withheld(env, pass);
    names.retain(|name| name.to_string_lossy().starts_with(OWN));
    names
}

fn is_secret(name: &OsStr, value: &OsStr) -> bool {
    let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name == DATABASE_URL.trim_start_matches('_')
        || name.ends_with(DATABASE_URL)
        || is_database_with_password(&value)
}

/// `scheme://user:password@host…` of a database or a broker.
fn is_database_with_password(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A password that was not encoded may itself hold a slash; then the whole value must do.
    let user = authority.rsplit_once('@').or_else(|| rest.rsplit_once('@')).map(|(user, _)| user);
    SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) && user.is_some_and(|user| user.contains(':'))
}

fn is_passed(name: &OsStr, pass: &[String]) -> bool {
    pass.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.to_string_lossy().starts_with(prefix),
        None => name == OsStr::new(pattern),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withheld_of<const N: usize>(variables: [(&str, &str); N], pass: &[&str]) -> Vec<String> {
        let pass: Vec<String> = pass.iter().map(|&name| name.to_owned()).collect();
        withheld(&Env::of(variables, None), &pass).into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn keys_and_databases_are_withheld_and_the_rest_is_not() {
        let secret = [
            ("HEADCOUNT_URL", "sqlite:x"),
            ("HEADCOUNT_JOB_ID", "of a worker inside a handler"),
            ("AWS_SECRET_ACCESS_KEY", "k"),
            ("HEROKU_API_KEY", "k"),
            ("HEROKU_POSTGRESQL_PINK_URL", "u"),
            ("PGPASSWORD", "p"),
            ("DATABASE_URL", "anything"),
            ("REPLICA_DATABASE_URL", "anything"),
            ("CACHE", "rediss://:p@h:1/0"),
            ("MONGO", "MongoDB+srv://u:p@h/d"),
            ("ODD", "postgres://u:p/q@h/d"),
        ];
        assert_eq!(withheld_of(secret, &[]).len(), secret.len());
        let plain = [
            ("PATH", "/bin"),
            ("LANG", "C"),
            ("REDIS_URL", "redis://localhost:6379/0"),
            ("SITE", "https://u:p@h/"),
            ("MY_PGP_KEY", "k"),
            ("DATABASE_URLS", "n"),
        ];
        assert_eq!(withheld_of(plain, &[]), [""; 0]);
    }

    #[test]
    fn a_command_of_the_users_own_finds_all_but_the_workers_variables() {
        let env = Env::of([("AWS_PROFILE", "p"), ("HEADCOUNT_URL", "u"), ("HEADCOUNT_LOG", "l")], None);
        assert_eq!(own(&env, &["HEADCOUNT_LOG".into()]), ["HEADCOUNT_URL"]);
    }

    #[test]
    fn what_a_handler_needs_is_passed_by_name_or_by_its_beginning() {
        let env = [("AWS_REGION", "r"), ("AWS_PROFILE", "p"), ("DATABASE_URL", "u"), ("PGHOST", "h")];
        assert_eq!(withheld_of(env, &["DATABASE_URL", "AWS_R*"]), ["AWS_PROFILE", "PGHOST"]);
        assert_eq!(withheld_of(env, &["*"]), [""; 0]);
        assert_eq!(withheld_of(env, &["DATABASE"]), ["AWS_PROFILE", "AWS_REGION", "DATABASE_URL", "PGHOST"]);
    }
}
