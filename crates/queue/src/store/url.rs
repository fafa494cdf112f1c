//! The address of a store.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::Error;

/// Where a store is: `postgres://…`, `sqlite:FILE`, or `sqlite::memory:`.
///
/// Printed without its password.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A Postgres database, by its whole URL.
    Postgres(String),
    /// An SQLite file, or memory.
    Sqlite(Option<PathBuf>),
}

impl StoreUrl {
    /// The whole address, password included: for handing on to another process, never for showing.
    pub fn expose(&self) -> String {
        match self {
            Self::Postgres(url) => url.clone(),
            Self::Sqlite(Some(path)) => format!("sqlite:{}", path.display()),
            Self::Sqlite(None) => "sqlite::memory:".into(),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                ":memory:" => Ok(Self::Sqlite(None)),
                "" => Err(Error::Rejected("sqlite: names no file; write sqlite:jobs.db or sqlite::memory:".into())),
                path => Ok(Self::Sqlite(Some(path.into()))),
            };
        }
        let scheme = text.split(':').next().unwrap_or_default();
        Err(Error::Rejected(format!(
            "a store's URL begins with postgres:// or sqlite:, not with {scheme:?}; for example sqlite:jobs.db"
        )))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
                let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
                let (user, host) = match rest.rsplit_once('@') {
                    Some((user, host)) => (user.split(':').next(), host),
                    None => (None, rest),
                };
                write!(f, "{scheme}://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                f.write_str(host)?;
                // A password may stand among the parameters too; the other parameters are worth showing.
                let shown: Vec<&str> = query
                    .unwrap_or_default()
                    .split('&')
                    .filter(|pair| !pair.is_empty() && !pair.to_ascii_lowercase().contains("pass"))
                    .collect();
                if shown.is_empty() { Ok(()) } else { write!(f, "?{}", shown.join("&")) }
            }
            Self::Sqlite(_) => f.write_str(&self.expose()),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://u:s3cret@h:1/db?sslmode=require", "postgres://u@h:1/db?sslmode=require"),
            ("postgresql://u:s3@cret@h/db", "postgresql://u@h/db"),
            ("postgres:///db?host=/tmp&password=s3cret", "postgres:///db?host=/tmp"),
        ] {
            let url: StoreUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("cret"));
        }
    }

    #[test]
    fn sqlite_is_a_file_or_memory() {
        assert_eq!("sqlite::memory:".parse::<StoreUrl>().unwrap(), StoreUrl::Sqlite(None));
        for text in ["sqlite:a/b.db", "sqlite://a/b.db"] {
            assert_eq!(text.parse::<StoreUrl>().unwrap(), StoreUrl::Sqlite(Some("a/b.db".into())));
        }
        assert!("mysql://x".parse::<StoreUrl>().unwrap_err().to_string().contains("mysql"));
    }
}
