//! Whether the tables are as the migrations make them.
//!
//! The migrations are made once more, in a schema of their own and a transaction that is rolled back, and both are
//! compared as this server prints them. A kept description would be one server's: each major version of Postgres prints
//! some things in its own way.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio::time::timeout;

use super::{
    NEEDED, PostgresStore, column,
    connection::Fault,
    migrate::{
        PATIENCE,
        steps::{self, Done, MIGRATIONS, Migration},
    },
    schema::Schema,
};
use crate::{Error, Result, store::Difference};

/// A part of a schema.
struct Part {
    /// The table that it is in; none stands by itself.
    table: Option<String>,
    /// As Postgres prints it.
    definition: String,
}

/// The parts of a schema, by their sort and name.
type Parts = BTreeMap<(String, String), Part>;

impl PostgresStore {
    /// What is not as the migrations make it, as far as they have been made.
    pub(super) async fn differences(&self) -> Result<Vec<Difference>> {
        let compared = timeout(PATIENCE, self.compared()).await;
        Ok(compared.unwrap_or(Err(Error::TimedOut(PATIENCE).into()))?)
    }

    async fn compared(&self) -> Result<Vec<Difference>, Fault> {
        let mut connection = self.connections.connect(self.connections.deadline()).await?;
        // Never committed: dropping it rolls back.
        let mut tx = self.begin(&mut connection).await?;
        let done = self.done(&mut tx, false).await?;
        let made = made(&done)?;
        // Nothing is printed without its schema.
        tx.execute("SET LOCAL search_path = ''").await.map_err(|error| self.connections.fault(error))?;
        let found = self.parts(&mut tx, &self.schema).await?;
        let scratch = Schema::new(&format!("headcount_drift_{:016x}", rand::random::<u64>()))?;
        self.make(&mut tx, &scratch, made).await?;
        let expected = self.parts(&mut tx, &scratch).await?;
        let told =
            |definition: &str| definition.replace(&format!("{}.", scratch.name()), &format!("{}.", self.schema.name()));
        Ok(differences(expected, found, told))
    }

    /// Makes the tables in a schema that is not there yet.
    async fn make(
        &self,
        tx: &mut PgConnection,
        schema: &Schema,
        migrations: impl Iterator<Item = &'static Migration> + Send,
    ) -> Result<(), Fault> {
        let create = format!("CREATE SCHEMA {}", schema.name());
        tx.execute(AssertSqlSafe(create)).await.map_err(|error| match &error {
            sqlx::Error::Database(database) if database.code().as_deref() == Some("42501") => Error::Rejected(format!(
                "the tables are compared with new ones, in a schema that is never committed, and the database \
                     refuses to make one: {}; ask as a role that may create schemas, such as the one that migrates",
                database.message()
            ))
            .into(),
            _ => self.connections.fault(error),
        })?;
        let texts = std::iter::once(steps::VERSIONS.to_owned())
            // Nobody else can see the new tables, and what is built beside the work cannot be rolled back.
            .chain(migrations.map(|migration| migration.sql.replace(" CONCURRENTLY", "")));
        for sql in texts {
            tx.execute(AssertSqlSafe(schema.told(&sql))).await.map_err(|error| self.connections.fault(error))?;
        }
        Ok(())
    }

    async fn parts(&self, tx: &mut PgConnection, schema: &Schema) -> Result<Parts, Fault> {
        let query = sqlx::query(self.statements.introspect.clone()).bind(schema.name().to_owned());
        let rows = self.ask_in(tx, query).await?;
        let part = |row| {
            let part = Part { table: column(row, "of")?, definition: column(row, "definition")? };
            Ok(((column(row, "sort")?, column(row, "name")?), part))
        };
        rows.iter().map(part).collect()
    }
}

/// The migrations that have been made.
fn made(done: &[Done]) -> Result<impl Iterator<Item = &'static Migration> + Send> {
    let versions: Vec<_> = done.iter().map(|done| done.version).collect();
    match versions.iter().max() {
        None => return Err(Error::Unmigrated { found: 0, needed: NEEDED }),
        Some(&newest) if MIGRATIONS.last().is_some_and(|last| newest > last.version) => {
            return Err(Error::Rejected(format!(
                "the store is at version {newest}, which a newer release made and only that can compare"
            )));
        }
        Some(_) => {}
    }
    Ok(MIGRATIONS.iter().filter(move |migration| versions.contains(&migration.version)))
}

/// `told`: what is expected, as it would be printed in the schema that was found.
fn differences(expected: Parts, mut found: Parts, told: impl Fn(&str) -> String) -> Vec<Difference> {
    let tables: BTreeSet<_> = expected.values().filter_map(|part| part.table.clone()).collect();
    let mut differences = Vec::new();
    for ((sort, name), part) in expected {
        let expected = told(&part.definition);
        let found = found.remove(&(sort.clone(), told(&name))).map(|part| part.definition);
        if found.as_ref() != Some(&expected) {
            differences.push(Difference { object: format!("{sort} {name}"), expected: Some(expected), found });
        }
    }
    // A table or a view beside ours is the owner's own; a column, an index or a trigger in one of ours is not.
    let inside = |part: &Part| part.table.as_ref().is_some_and(|table| tables.contains(table));
    for ((sort, name), part) in found.into_iter().filter(|(_, part)| inside(part)) {
        differences.push(Difference { object: format!("{sort} {name}"), expected: None, found: Some(part.definition) });
    }
    differences.sort_by(|one, two| one.object.cmp(&two.object));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(of: &[(&str, &str, Option<&str>, &str)]) -> Parts {
        let part = |&(sort, name, table, definition): &(&str, &str, Option<&str>, &str)| {
            let part = Part { table: table.map(str::to_owned), definition: definition.to_owned() };
            ((sort.to_owned(), name.to_owned()), part)
        };
        of.iter().map(part).collect()
    }

    #[test]
    fn what_stands_beside_our_tables_is_the_owners_and_what_stands_in_them_is_not() {
        let ours =
            [("table", "ready", Some("ready"), ""), ("index", "ready_lane", Some("ready"), "ON x.ready (queue)")];
        let found = [
            ("table", "ready", Some("ready"), ""),
            ("table", "own", Some("own"), ""),
            ("index", "own_index", Some("own"), "ON jobs.own"),
            ("view", "report", None, "SELECT"),
            ("index", "ready_own", Some("ready"), "ON jobs.ready (kind)"),
        ];
        let objects: Vec<_> = differences(parts(&ours), parts(&found), |text| text.replace("x.", "jobs."))
            .into_iter()
            .map(|difference| (difference.object, difference.expected, difference.found))
            .collect();
        assert_eq!(
            objects,
            [
                ("index ready_lane".into(), Some("ON jobs.ready (queue)".into()), None),
                ("index ready_own".into(), None, Some("ON jobs.ready (kind)".into())),
            ]
        );
    }
}
