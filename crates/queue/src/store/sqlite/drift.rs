//! Whether the tables are as the migrations make them.

use std::collections::{BTreeMap, HashSet};

use sqlx::Row;

use super::{SqliteStore, fault::fault};
use crate::{
    Result,
    store::{Difference, Options},
};

/// What SQLite says of a table, an index, a view or a trigger: to which table it belongs, and what made it.
type Objects = BTreeMap<String, (String, String)>;

/// Compares the store with a fresh one in memory. What belongs to none of our tables is its owner's.
pub(super) async fn drift(store: &SqliteStore) -> Result<Vec<Difference>> {
    let fresh = SqliteStore::open(None, &Options { call_timeout: store.limit, ..Options::default() }).await?;
    let (mut found, expected) = (objects(store).await?, objects(&fresh).await?);
    let tables: HashSet<&str> = expected.values().map(|(table, _)| &**table).collect();
    found.retain(|object, (table, _)| expected.contains_key(object) || tables.contains(&**table));
    let mut all: Vec<&String> = expected.keys().chain(found.keys()).collect();
    all.sort();
    all.dedup();
    let sql = |objects: &Objects, object: &String| objects.get(object).map(|(_, sql)| sql.clone());
    Ok(all
        .into_iter()
        .map(|object| Difference {
            object: object.clone(),
            expected: sql(&expected, object),
            found: sql(&found, object),
        })
        .filter(|difference| difference.expected != difference.found)
        .collect())
}

async fn objects(store: &SqliteStore) -> Result<Objects> {
    store
        .read(async |tx| {
            // What SQLite makes by itself, such as a primary key's index, has no text.
            let rows = sqlx::query("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
                .fetch_all(&mut **tx)
                .await
                .map_err(fault)?;
            let object = |row: &sqlx::sqlite::SqliteRow| {
                (format!("{} {}", row.get::<&str, _>(0), row.get::<&str, _>(1)), (row.get(2), row.get(3)))
            };
            Ok(rows.iter().map(object).collect())
        })
        .await
}
