//! Which store a command works on: `--url`, HEADCOUNT_URL, DATABASE_URL, else the embedded one of the user.

use std::{fmt, fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use headcount_queue::{
    Error, Queue, StoreUrl,
    store::{self, Options, Store},
};

use crate::{
    env::{self, Env},
    exit::{refused, usage},
    global::Global,
};

/// A store that was chosen, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Where it is.
    pub(crate) url: StoreUrl,
    /// What named it.
    pub(crate) source: Source,
}

/// What named a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The flag `--url`.
    Flag,
    /// An environment variable.
    Variable(&'static str),
    /// Nothing: it is the embedded one.
    Embedded,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Flag => write!(f, "{}", self.url),
            Source::Variable(name) => write!(f, "{} (from {name})", self.url),
            Source::Embedded => write!(f, "{} (the embedded one; --url or HEADCOUNT_URL names another)", self.url),
        }
    }
}

/// The store with the schema that `--schema` names, as a parameter of its URL.
fn in_schema(url: StoreUrl, global: &Global) -> Result<StoreUrl> {
    let Some(schema) = &global.schema else { return Ok(url) };
    let StoreUrl::Postgres(text) = url else { return Err(no_schema(schema)) };
    // What else a name may not hold is for the store to say; this would become another parameter.
    if !schema.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(usage(format!(
            "--schema {schema}: a schema's name is of lower-case letters, digits and underscores"
        )));
    }
    let (address, parameters) = text.split_once('?').unwrap_or((&text, ""));
    let others = parameters.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("schema="));
    let ours = format!("schema={schema}");
    let parameters: Vec<&str> = others.chain([ours.as_str()]).collect();
    Ok(StoreUrl::Postgres(format!("{address}?{}", parameters.join("&"))))
}

fn no_schema(schema: &str) -> anyhow::Error {
    usage(format!("--schema {schema}: only a Postgres store has schemas; name one with --url"))
}

/// The store that `--url`, HEADCOUNT_URL or, if `allow_database_url`, DATABASE_URL names; none if none does.
pub(crate) fn named_url(global: &Global, env: &Env, allow_database_url: bool) -> Result<Option<Choice>> {
    if let Some(text) = &global.url {
        let url = text.parse().map_err(|error: Error| usage(format!("--url: {error}")))?;
        return Ok(Some(Choice { url: in_schema(url, global)?, source: Source::Flag }));
    }
    for variable in [Some(&env::URL), allow_database_url.then_some(&env::DATABASE_URL)].into_iter().flatten() {
        if let Some(text) = env.get(variable)? {
            let url = text.parse().map_err(|error: Error| refused(format!("{}: {error}", variable.name)))?;
            return Ok(Some(Choice { url: in_schema(url, global)?, source: Source::Variable(variable.name) }));
        }
    }
    match &global.schema {
        Some(schema) => Err(no_schema(schema)),
        None => Ok(None),
    }
}

/// The store to work on: a named one, else the embedded one, whose folder is made.
pub(crate) fn store_url(global: &Global, env: &Env, allow_database_url: bool) -> Result<Choice> {
    if let Some(choice) = named_url(global, env, allow_database_url)? {
        return Ok(choice);
    }
    let file = data_folder(env)?.join("headcount.db");
    Ok(Choice { url: StoreUrl::Sqlite(Some(file)), source: Source::Embedded })
}

/// The folder for this program's own data. It is made if need be, for nobody but the user to enter: payloads lie there.
pub(crate) fn data_folder(env: &Env) -> Result<PathBuf> {
    let folder = env.data_folder().ok_or_else(|| {
        refused("there is no home folder for the embedded store: set HOME or XDG_DATA_HOME, or name a store with --url")
    })?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
        refused(format!("cannot make {}: {error}; set XDG_DATA_HOME, or name a store with --url", folder.display()))
    })?;
    Ok(folder)
}

/// Connects to a store whose tables are there. An embedded store is made; a Postgres store is never migrated silently.
pub(crate) async fn open(choice: &Choice, options: &Options) -> Result<Queue> {
    Queue::connect_with(&choice.url, options).await.map_err(configured).with_context(|| opening(choice))
}

/// Connects to a store whatever its tables are.
pub(crate) async fn open_unchecked(choice: &Choice) -> Result<Arc<dyn Store>> {
    let store = store::open(&choice.url, &Options::default()).await.map_err(configured);
    store.with_context(|| opening(choice))
}

/// Makes or updates a store's tables. Returns their version.
pub(crate) async fn migrate(store: &dyn Store, choice: &Choice) -> Result<i64> {
    store.migrate().await.with_context(|| format!("migrating the store {}", choice.url))
}

fn opening(choice: &Choice) -> String {
    format!("opening the store {}", choice.url)
}

/// A URL that a store refuses is a configuration, whoever wrote it.
fn configured(error: Error) -> anyhow::Error {
    match error {
        Error::Rejected(why) => refused(why),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::exit::{Exit, status};

    fn flag(url: &str) -> Global {
        Global { url: Some(url.into()), ..Global::default() }
    }

    #[test]
    fn the_nearest_word_names_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let data = Some(folder.path().to_owned());
        let both = Env::of([("HEADCOUNT_URL", "sqlite:h.db"), ("DATABASE_URL", "postgres://u:s3cret@h/d")], None);
        let platform = Env::of([("DATABASE_URL", "postgres://u:s3cret@h/d")], data);
        let chosen = |global: &Global, env: &Env, allow| store_url(global, env, allow).unwrap();

        assert_eq!(chosen(&flag("sqlite:f.db"), &both, true).to_string(), "sqlite:f.db");
        assert_eq!(chosen(&Global::default(), &both, true).to_string(), "sqlite:h.db (from HEADCOUNT_URL)");
        let shown = chosen(&Global::default(), &platform, true).to_string();
        assert_eq!(shown, "postgres://u@h/d (from DATABASE_URL)");
        // A run never writes into an application's database because the platform happened to name it.
        let embedded = chosen(&Global::default(), &platform, false);
        let file = folder.path().join("headcount/headcount.db");
        assert_eq!(embedded, Choice { url: StoreUrl::Sqlite(Some(file)), source: Source::Embedded });
        let mode = folder.path().join("headcount").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_url_that_makes_no_sense_is_refused_by_who_wrote_it() {
        let env = Env::of([("HEADCOUNT_URL", "mysql://u:s3cret@h/d")], None);
        for (global, exit, named) in
            [(flag("mysql://u:s3cret@h"), Exit::Usage, "--url"), (Global::default(), Exit::Refused, "HEADCOUNT_URL")]
        {
            let error = store_url(&global, &env, true).unwrap_err();
            assert_eq!(status(&error), exit);
            let text = error.to_string();
            assert!(text.contains(named) && text.contains("mysql") && !text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn a_schema_becomes_part_of_the_address_of_a_store_that_has_some() {
        let schema = |url: &str, schema: &str| {
            let global = Global { schema: Some(schema.into()), ..flag(url) };
            store_url(&global, &Env::of([], None), true).map(|choice| choice.url.expose())
        };
        assert_eq!(schema("postgres://h/d", "jobs_2").unwrap(), "postgres://h/d?schema=jobs_2");
        let parameters = "postgres://h/d?schema=a&sslmode=require";
        assert_eq!(schema(parameters, "b").unwrap(), "postgres://h/d?sslmode=require&schema=b");
        for (url, name) in [("sqlite:f.db", "a"), ("postgres://h/d", "a&pooler=none"), ("postgres://h/d", "a?b")] {
            assert_eq!(status(&schema(url, name).unwrap_err()), Exit::Usage, "{url} {name}");
        }
        let embedded = Global { schema: Some("a".into()), ..Global::default() };
        assert_eq!(status(&store_url(&embedded, &Env::of([], None), true).unwrap_err()), Exit::Usage);
    }

    #[test]
    fn a_user_without_a_home_is_told_what_to_set() {
        let error = store_url(&Global::default(), &Env::of([], None), true).unwrap_err();
        assert_eq!(status(&error), Exit::Refused);
        assert!(error.to_string().contains("XDG_DATA_HOME"));
    }
}
