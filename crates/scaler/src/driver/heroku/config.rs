//! What the driver must know: which app, whose token, which pool is which process type.

use std::{collections::BTreeMap, fmt, time::Duration};

use headcount_queue::{Error, Result};
use hyper::{Uri, header::HeaderValue, http::uri::Scheme};

use crate::driver::PoolRef;

/// The secret with which Heroku is called, and the name of the variable that it came from.
///
/// Neither `Debug` nor `Display` shows the secret: both show the name, which is what an operator has to change.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    name: String,
    secret: String,
}

impl Token {
    /// The token that this variable holds. White space around it is no part of it.
    ///
    /// # Errors
    /// [`Error::Rejected`] if it is empty or holds what no header may hold.
    pub fn new(name: impl Into<String>, secret: &str) -> Result<Self> {
        let (name, secret) = (name.into(), secret.trim());
        if secret.is_empty() {
            return Err(Error::Rejected(format!(
                "{name} is empty: set it to a token, as `heroku authorizations:create --scope write` makes one"
            )));
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Rejected(format!("{name} holds no token: it has characters that no token has")));
        }
        Ok(Self { name, secret: secret.to_owned() })
    }

    /// The variable's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The header that shows it to Heroku.
    pub(super) fn header(&self) -> HeaderValue {
        let header = HeaderValue::from_str(&format!("Bearer {}", self.secret));
        let mut header = header.expect("it is visible ASCII");
        header.set_sensitive(true);
        header
    }

    /// The text without the secret, should a server have sent it back.
    pub(super) fn hide_in(&self, text: &str) -> String {
        text.replace(&self.secret, "[token]")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// How a [driver](super::HerokuDriver) calls Heroku, and for which pools.
///
/// ```
/// # use headcount_scaler::{HerokuConfig, HerokuDriver, Token};
/// # fn main() -> headcount_queue::Result<()> {
/// let token = Token::new("HEROKU_API_KEY", "01234567-89ab-cdef")?;
/// let config = HerokuConfig::new("my-shop", token)?.pool("mail", "mailworker")?.pool("media", "mediaworker")?;
/// let driver = HerokuDriver::new(config)?;
/// assert_eq!(driver.to_string(), "heroku: my-shop");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HerokuConfig {
    pub(super) app: String,
    pub(super) token: Token,
    pub(super) pools: BTreeMap<PoolRef, String>,
    pub(super) base: Uri,
    pub(super) read_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) read_every: Duration,
}

impl HerokuConfig {
    /// The app of this name or id, called with this token.
    ///
    /// # Errors
    /// [`Error::Rejected`] if no app can have this name.
    pub fn new(app: impl Into<String>, token: Token) -> Result<Self> {
        let app = app.into();
        if !is_app(&app) {
            return Err(Error::Rejected(format!(
                "{app:?} is no name of a Heroku app: small letters, digits and dashes, 3 to 30 of them, or the app's id"
            )));
        }
        Ok(Self {
            app,
            token,
            pools: BTreeMap::new(),
            base: Uri::from_static("https://api.heroku.com"),
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(5),
            read_every: Duration::from_mins(1),
        })
    }

    /// Keeps this pool as dynos of this process type, a name of the app's Procfile.
    ///
    /// # Errors
    /// [`Error::Rejected`] if no process type can be named so, or if the pool or the type has been given already.
    pub fn pool(mut self, pool: impl Into<String>, process_type: impl Into<String>) -> Result<Self> {
        let (pool, process_type) = (PoolRef::from(pool.into().as_str()), process_type.into());
        if !is_process_type(&process_type) {
            return Err(Error::Rejected(format!(
                "pool {pool}: {process_type:?} is no process type: letters, digits, _ and -, as in the Procfile"
            )));
        }
        if let Some((other, _)) = self.pools.iter().find(|(_, known)| **known == process_type) {
            return Err(Error::Rejected(format!(
                "pools {other} and {pool} are both process type {process_type} of {}: each would undo the other's size",
                self.app
            )));
        }
        if self.pools.contains_key(&pool) {
            return Err(Error::Rejected(format!("pool {pool} has two process types")));
        }
        self.pools.insert(pool, process_type);
        Ok(self)
    }

    /// Calls the API there. Default `https://api.heroku.com`.
    ///
    /// # Errors
    /// [`Error::Rejected`] unless it is an https address, or an http one of this machine: elsewhere the token would
    /// travel in the open.
    pub fn base_url(mut self, url: &str) -> Result<Self> {
        let wrong = |why: &str| Error::Rejected(format!("{url:?} is no address to call Heroku at: {why}"));
        let base: Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
        if base.host().is_none() || base.scheme().is_none() {
            return Err(wrong("it should look like https://api.heroku.com"));
        }
        if base.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("it must hold no user or password"));
        }
        if !matches!(base.path(), "" | "/") || base.query().is_some() {
            return Err(wrong("it must end after the host and port"));
        }
        let here = matches!(base.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match base.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => {}
            Some(scheme) if *scheme == Scheme::HTTP && here => {}
            _ => return Err(wrong("it must begin with https://, or the token would travel in the open")),
        }
        self.base = base;
        Ok(self)
    }

    /// The time limit of one reading. Default 10 s.
    #[must_use]
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// The time limit of one change, and of the reading right before it. Default 5 s. A change without an answer may
    /// have been made.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How old a reading may get before the next is taken, while nothing changes. Default a minute: two calls a minute
    /// are 120 of the account's 4500 an hour. Longer than two minutes makes the scaler hold between readings.
    #[must_use]
    pub fn read_every(mut self, every: Duration) -> Self {
        self.read_every = every;
        self
    }
}

fn is_app(name: &str) -> bool {
    let id = name.len() == 36 && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let ends = name.starts_with(|first: char| first.is_ascii_lowercase()) && !name.ends_with('-');
    id || ((3..=30).contains(&name.len()) && letters && ends)
}

fn is_process_type(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> HerokuConfig {
        HerokuConfig::new("my-shop", Token::new("HEROKU_API_KEY", "s3cret\n").unwrap()).unwrap()
    }

    #[test]
    fn a_token_is_shown_by_its_name_only() {
        let token = Token::new("HEROKU_API_KEY", " s3cret\n").unwrap();
        assert_eq!(token.to_string(), "HEROKU_API_KEY");
        assert!(!format!("{token:?} {:?} {:?}", config(), token.header()).contains("s3cret"));
        assert_eq!(token.header().to_str().unwrap(), "Bearer s3cret", "the line's end is no part of it");
        assert_eq!(token.hide_in("you sent Bearer s3cret!"), "you sent Bearer [token]!");
    }

    #[test]
    fn an_unusable_token_is_refused_by_its_name() {
        for (secret, why) in
            [("", "HEROKU_API_KEY is empty"), (" \n", "is empty"), ("a b", "no token"), ("é", "no token")]
        {
            let refused = Token::new("HEROKU_API_KEY", secret).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn what_heroku_could_not_know_is_refused_at_once() {
        let token = Token::new("T", "t").unwrap();
        for app in ["", "ab", "My-Shop", "1shop", "shop-", "a/b", "shop?x", &"a".repeat(31)] {
            assert!(HerokuConfig::new(app, token.clone()).is_err(), "{app}");
        }
        for app in ["abc", "my-shop-2", "01234567-89ab-cdef-0123-456789abcdef"] {
            assert!(HerokuConfig::new(app, token.clone()).is_ok(), "{app}");
        }
        for process_type in ["", "a b", "a.1", "a/b"] {
            assert!(config().pool("mail", process_type).is_err(), "{process_type}");
        }
    }

    #[test]
    fn two_pools_cannot_be_one_process_type() {
        let both = config().pool("mail", "worker").unwrap().pool("media", "worker").unwrap_err().to_string();
        assert!(both.contains("pools mail and media are both process type worker of my-shop"), "{both}");
        assert!(config().pool("mail", "a").unwrap().pool("mail", "b").is_err());
    }

    #[test]
    fn a_token_never_travels_in_the_open() {
        for url in ["http://api.heroku.com", "http://10.0.0.1:80", "ftp://localhost", "api.heroku.com", "https://x/v1"]
        {
            assert!(config().base_url(url).is_err(), "{url}");
        }
        assert!(config().base_url("https://u:p@api.heroku.com").is_err());
        for url in ["https://api.heroku.com/", "http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:1"] {
            assert!(config().base_url(url).is_ok(), "{url}");
        }
    }
}
