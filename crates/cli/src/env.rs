//! Every environment variable, and the only place that reads the environment.
//!
//! A variable that is set but empty counts as not set.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use anyhow::Result;
use etcetera::BaseStrategy as _;

use crate::exit::refused;

/// An environment variable with its meaning, as the help shows it.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
}

/// The store.
pub(crate) const URL: Variable =
    Variable { name: "HEADCOUNT_URL", meaning: "the store's URL, where --url is not given" };
/// The store, as platforms name it.
pub(crate) const DATABASE_URL: Variable =
    Variable { name: "DATABASE_URL", meaning: "the store's URL, where neither is given; never used by `run`" };
/// The instance.
pub(crate) const INSTANCE: Variable = Variable {
    name: "HEADCOUNT_INSTANCE",
    meaning: "what the platform calls the instance that it works on; on EC2 it is asked for",
};
/// The pool.
pub(crate) const POOL: Variable =
    Variable { name: "HEADCOUNT_POOL", meaning: "the pool of a worker, where --pool is not given" };
/// Heroku's name for the dyno.
pub(crate) const DYNO: Variable =
    Variable { name: "DYNO", meaning: "Heroku's: instance (worker.3) and pool (worker) of a worker, if need be" };
/// The scaler's configuration.
pub(crate) const CONFIG: Variable =
    Variable { name: "HEADCOUNT_CONFIG", meaning: "the scaler's configuration, where --config is not given" };
/// Where matters are told.
pub(crate) const WEBHOOK_URL: Variable = Variable {
    name: "HEADCOUNT_WEBHOOK_URL",
    meaning: "where `scale` and `work` POST what a person should hear of, like a Slack webhook",
};
/// Where a service shows itself.
pub(crate) const LISTEN: Variable = Variable {
    name: "HEADCOUNT_LISTEN",
    meaning: "where `scale` and `work` show metrics and health, where --listen is not given",
};
/// Another Heroku.
pub(crate) const HEROKU_API_URL: Variable =
    Variable { name: "HEROKU_API_URL", meaning: "where Heroku's API is, instead of https://api.heroku.com" };
/// The key to it.
pub(crate) const HEROKU_API_KEY: Variable = Variable {
    name: "HEROKU_API_KEY",
    meaning: "the key to Heroku's API, where the configuration's token_env names no other variable",
};
/// Another AWS.
pub(crate) const AWS_ENDPOINT_URL: Variable = Variable {
    name: "AWS_ENDPOINT_URL",
    meaning: "where AWS's API is, instead of the region's own; the SDK reads more",
};
/// The region.
pub(crate) const AWS_REGION: Variable =
    Variable { name: "AWS_REGION", meaning: "the region of AWS, where the configuration names none" };
/// The region, by its older name.
pub(crate) const AWS_DEFAULT_REGION: Variable =
    Variable { name: "AWS_DEFAULT_REGION", meaning: "the same, where AWS_REGION is not set" };

/// The metadata of the machine.
pub(crate) const AWS_EC2_METADATA_SERVICE_ENDPOINT: Variable = Variable {
    name: "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    meaning: "where a worker on EC2 asks for its instance's id and end, instead of http://169.254.169.254",
};
/// Whether they are asked for.
pub(crate) const AWS_EC2_METADATA_DISABLED: Variable = Variable {
    name: "AWS_EC2_METADATA_DISABLED",
    meaning: "true: a worker on EC2 does not ask for its instance's id and end",
};

/// What opens the platforms: workers on this machine do not get these.
pub(crate) const PLATFORM_KEYS: [&str; 4] =
    ["HEROKU_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"];

/// The filter of the log.
pub(crate) const LOG: Variable =
    Variable { name: "HEADCOUNT_LOG", meaning: "what is logged, instead of --quiet and --verbose: headcount=debug" };
/// Plain output.
pub(crate) const NO_COLOR: Variable =
    Variable { name: "NO_COLOR", meaning: "set to anything: no colour, not on a terminal either" };
/// The user's data folder.
pub(crate) const XDG_DATA_HOME: Variable =
    Variable { name: "XDG_DATA_HOME", meaning: "the folder of the embedded store (default ~/.local/share)" };
/// The user's home.
pub(crate) const HOME: Variable = Variable { name: "HOME", meaning: "the folder that ~ stands for" };
/// Where programs are found.
pub(crate) const PATH: Variable = Variable { name: "PATH", meaning: "where the handler's program is looked up" };
/// Who acts.
pub(crate) const USER: Variable = Variable { name: "USER", meaning: "who acts, for the record (`workers drain`)" };
/// Who acts, by its other name.
pub(crate) const LOGNAME: Variable = Variable { name: "LOGNAME", meaning: "the same, where USER is not set" };

/// Every variable that changes what the command does.
pub(crate) const ALL: &[&Variable] = &[
    &URL,
    &DATABASE_URL,
    &INSTANCE,
    &POOL,
    &DYNO,
    &CONFIG,
    &WEBHOOK_URL,
    &LISTEN,
    &HEROKU_API_KEY,
    &HEROKU_API_URL,
    &AWS_REGION,
    &AWS_DEFAULT_REGION,
    &AWS_ENDPOINT_URL,
    &AWS_EC2_METADATA_SERVICE_ENDPOINT,
    &AWS_EC2_METADATA_DISABLED,
    &LOG,
    &NO_COLOR,
    &XDG_DATA_HOME,
    &HOME,
    &PATH,
    &USER,
    &LOGNAME,
];

/// The environment as it was when the process began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env {
    variables: BTreeMap<OsString, OsString>,
    data: Option<PathBuf>,
}

impl Env {
    /// Reads the process's environment.
    pub(crate) fn read() -> Self {
        // `choose_base_strategy` reads HOME and XDG_DATA_HOME.
        let data = etcetera::choose_base_strategy().ok().map(|folders| folders.data_dir());
        Self { variables: std::env::vars_os().collect(), data }
    }

    /// The value of a variable; not set and empty are the same.
    ///
    /// # Errors
    /// Its value is not UTF-8. The value itself is not told: it may be a secret.
    pub(crate) fn get(&self, variable: &Variable) -> Result<Option<&str>> {
        match self.raw(variable) {
            None => Ok(None),
            Some(value) => match value.to_str() {
                Some(value) => Ok(Some(value)),
                None => Err(refused(format!("{} is not UTF-8: set it anew", variable.name))),
            },
        }
    }

    /// The value of a variable that a configuration names.
    pub(crate) fn named(&self, name: &str) -> Result<Option<&str>> {
        match self.variables.get(OsStr::new(name)).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => value.to_str().map(Some).ok_or_else(|| refused(format!("{name} is not UTF-8: set it anew"))),
        }
    }

    /// The value of a variable that need not be text.
    pub(crate) fn raw(&self, variable: &Variable) -> Option<&OsStr> {
        self.variables.get(OsStr::new(variable.name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Every variable that is set, ours or not: what a child process would inherit.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The folder for this program's own data, not made yet; none where the user has no home.
    pub(crate) fn data_folder(&self) -> Option<PathBuf> {
        self.data.as_ref().map(|data| data.join("headcount"))
    }

    /// Who acts, for the record: `user@host`.
    pub(crate) fn actor(&self) -> String {
        let user = self.raw(&USER).or_else(|| self.raw(&LOGNAME)).map_or_else(
            || format!("uid {}", rustix::process::getuid().as_raw()),
            |name| name.to_string_lossy().into_owned(),
        );
        format!("{user}@{}", host())
    }
}

/// The name of this host.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
impl Env {
    /// An environment with these variables and this data folder, for tests.
    pub(crate) fn of<const N: usize>(variables: [(&str, &str); N], data: Option<PathBuf>) -> Self {
        Self { variables: variables.map(|(name, value)| (name.into(), value.into())).into(), data }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn an_empty_variable_is_not_set_and_one_that_is_no_text_is_refused_without_its_value() {
        let mut env = Env::of([("HEADCOUNT_URL", ""), ("DYNO", "worker.1")], None);
        assert_eq!(env.get(&URL).unwrap(), None);
        assert_eq!(env.get(&DYNO).unwrap(), Some("worker.1"));
        env.variables.insert("HEADCOUNT_URL".into(), OsString::from_vec(b"s3cret\xff".to_vec()));
        let error = env.get(&URL).unwrap_err().to_string();
        assert!(error.contains("HEADCOUNT_URL") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn every_variable_is_listed_once() {
        let mut names: Vec<_> = ALL.iter().map(|variable| variable.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn who_acts_is_named_with_the_host() {
        let host = host();
        assert_eq!(Env::of([("USER", "ada"), ("LOGNAME", "x")], None).actor(), format!("ada@{host}"));
        assert_eq!(Env::of([("USER", ""), ("LOGNAME", "bob")], None).actor(), format!("bob@{host}"));
        assert!(Env::of([], None).actor().starts_with("uid "));
    }
}
