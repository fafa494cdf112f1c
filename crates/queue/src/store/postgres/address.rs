//! The address of a Postgres store: what in it is ours, and what is the driver's.
//!
//! Two parameters are ours and are taken out before the driver sees the URL, for it would warn of them:
//! `pooler=transaction|none` says whether a pooler that hands out a connection for a transaction at a time stands
//! between, and `schema=NAME` says where the tables are. Pure.

use super::schema::Schema;
use crate::{Error, Result};

/// What stands between us and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooler {
    /// Nothing that shows: a connection is ours for as long as it lasts.
    None,
    /// Something that gives a connection to the server for a transaction and takes it back, as PgBouncer does with
    /// `pool_mode = transaction`.
    Transaction,
}

/// An address, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// The URL for the driver.
    pub(super) url: String,
    /// What the address says of a pooler; `None`: nothing, and it shows at the first connection.
    pub(super) pooler: Option<Pooler>,
    /// The schema of the tables.
    pub(super) schema: Schema,
}

impl Address {
    /// Takes our parameters out of a URL.
    ///
    /// # Errors
    /// [`Error::Rejected`] when one of them has no such value. The message is without the URL, which may hold a
    /// password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let mut address = Self { url: url.to_owned(), pooler: None, schema: Schema::default() };
        let Some((place, query)) = url.split_once('?') else { return Ok(address) };
        let mut rest = Vec::new();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("pooler", "transaction")) => address.pooler = Some(Pooler::Transaction),
                Some(("pooler", "none")) => address.pooler = Some(Pooler::None),
                Some(("pooler", other)) => {
                    return Err(Error::Rejected(format!(
                        "the store's URL says pooler={other}: it is transaction (PgBouncer and the like, with a \
                         connection for each transaction) or none"
                    )));
                }
                Some(("schema", name)) => address.schema = Schema::new(name)?,
                _ => rest.push(pair),
            }
        }
        address.url = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> (String, Option<Pooler>, String) {
        let address = Address::parse(url).unwrap();
        (address.url, address.pooler, address.schema.name().to_owned())
    }

    #[test]
    fn what_is_ours_is_taken_out_and_the_rest_is_left_as_it_is() {
        for (url, rest, pooler, schema) in [
            ("postgres://u:p@h:1/db", "postgres://u:p@h:1/db", None, "headcount"),
            ("postgres://h/db?pooler=transaction", "postgres://h/db", Some(Pooler::Transaction), "headcount"),
            (
                "postgres://h/db?pooler=none&sslmode=require",
                "postgres://h/db?sslmode=require",
                Some(Pooler::None),
                "headcount",
            ),
            ("postgres://h/db?host=/tmp&schema=jobs_2", "postgres://h/db?host=/tmp", None, "jobs_2"),
            ("postgres://h/db?a=pooler&schemas=x", "postgres://h/db?a=pooler&schemas=x", None, "headcount"),
        ] {
            assert_eq!(parse(url), (rest.to_owned(), pooler, schema.to_owned()), "{url}");
        }
    }

    #[test]
    fn a_value_that_means_nothing_is_refused_without_the_password() {
        let long = "x".repeat(41);
        for query in ["pooler=session", "pooler=", "schema=", "schema=a.b", "schema=Jobs", "schema=pg_x", "schema=1a"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("schema={long}")])
        {
            let Err(error) = Address::parse(&format!("postgres://u:s3cret@h/db?{query}")) else { panic!("{query}") };
            assert!(matches!(error, Error::Rejected(_)), "{error:?}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
