//! The schema that holds the tables: `headcount`, unless the store's URL says `schema=NAME`.
//!
//! Statements and migrations are written for `headcount` and name it in every place, function bodies and channels
//! included; for another schema that name is replaced in their text when the store is opened. A search path would do the
//! same only where nobody else sets it, and not at all behind a pooler.

use crate::{Error, Result};

/// Postgres keeps 63 bytes of a name; the names of channels begin with the schema's.
const MAX_BYTES: usize = 40;

/// As every text names it.
const WRITTEN: &str = "headcount";

/// The name of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schema(String);

impl Default for Schema {
    fn default() -> Self {
        Self(WRITTEN.into())
    }
}

impl Schema {
    /// Checks a name. Whether Postgres reserves the word is seen when the tables are made.
    pub(super) fn new(name: &str) -> Result<Self> {
        let letter = |c: char| c.is_ascii_lowercase() || c == '_';
        let plain = name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit());
        if plain && name.len() <= MAX_BYTES && !name.starts_with("pg_") {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::Rejected(format!(
            "the store's URL says schema={name}: a schema's name is up to {MAX_BYTES} lower-case letters, digits and \
             underscores, begins with no digit, and not with pg_"
        )))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// This text with our tables in this schema. For `headcount` it is the same, byte for byte.
    pub(super) fn told(&self, sql: &str) -> String {
        if self.0 == WRITTEN {
            return sql.to_owned();
        }
        sql.replace("headcount.", &format!("{}.", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_need_quotes_is_refused() {
        let long = "x".repeat(MAX_BYTES + 1);
        for name in ["", "a.b", "Jobs", "pg_x", "1a", "a-b", "a\"b", "jöbs", &long] {
            assert!(matches!(Schema::new(name), Err(Error::Rejected(_))), "{name:?}");
        }
        assert!(Schema::new(&long[1..]).is_ok());
    }

    #[test]
    fn functions_and_channels_are_told_too() {
        let sql = "SELECT nextval('headcount.place'), pg_notify('headcount.wake', '') FROM headcount.ready";
        assert_eq!(Schema::default().told(sql), sql);
        let told = "SELECT nextval('jobs.place'), pg_notify('jobs.wake', '') FROM jobs.ready";
        assert_eq!(Schema::new("jobs").unwrap().told(sql), told);
    }
}
