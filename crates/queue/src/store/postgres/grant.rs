//! What each task may do in the schema, and giving it to database roles.

mod rights;

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio::time::{Instant, timeout_at};

use self::rights::{Functions, TASKS};
use super::{NEEDED, PostgresStore, column, connection::Fault, migrate::PATIENCE};
use crate::{Error, Result, store::Grants};

impl PostgresStore {
    /// Gives these roles what their tasks need and takes from them what else they have in the schema; PUBLIC keeps
    /// nothing in it.
    pub(super) async fn granted(&self, grants: &Grants) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            match timeout_at(end, self.try_grant(grants)).await.unwrap_or(Err(Error::TimedOut(PATIENCE).into())) {
                Ok(true) => return Ok(()),
                Ok(false) => tracing::debug!("another process migrates or grants"),
                Err(Fault::Conflict(error)) if Instant::now() < end => {
                    tracing::info!(%error, "the grant waits for others to let go of the tables");
                }
                Err(fault) => return Err(fault.into()),
            }
            tokio::time::sleep(std::time::Duration::from_millis(rand::random_range(100..500))).await;
        }
    }

    /// `false`: another process migrates or grants.
    async fn try_grant(&self, grants: &Grants) -> Result<bool, Fault> {
        let mut connection = self.connections.connect(self.connections.deadline()).await?;
        let mut tx = self.begin(&mut connection).await?;
        // Two grants at once would meet in the catalog, which fails the second.
        let lock = self.ask_in(&mut tx, sqlx::query(self.statements.migration_lock.clone())).await?;
        if !column::<bool>(&lock[0], "taken")? {
            return Ok(false);
        }
        let roles = self.quoted(&mut tx, grants).await?;
        let sql = self.text(&mut tx, grants, &roles).await?;
        tx.execute(AssertSqlSafe(sql)).await.map_err(|error| self.connections.fault(error))?;
        tx.commit().await.map_err(|error| self.connections.fault(error))?;
        Ok(true)
    }

    /// The names as statements write them.
    async fn quoted(&self, tx: &mut PgConnection, grants: &Grants) -> Result<BTreeMap<String, String>, Fault> {
        let names: Vec<_> = lists(grants).into_iter().flatten().cloned().collect();
        let schema = self.schema.name();
        let query = sqlx::query(self.statements.roles.clone()).bind(&names).bind(schema.to_owned());
        let mut quoted = BTreeMap::new();
        for row in self.ask_in(tx, query).await? {
            let name: String = column(&row, "name")?;
            if column(&row, "owner")? {
                let why = format!("the role {name:?} owns the tables in {schema} and may do everything: name another");
                return Err(Error::Rejected(why).into());
            }
            quoted.insert(name, column(&row, "quoted")?);
        }
        let unknown: Vec<_> =
            names.iter().filter(|name| !quoted.contains_key(*name)).map(|n| format!("{n:?}")).collect();
        if unknown.is_empty() {
            return Ok(quoted);
        }
        Err(Error::Rejected(format!(
            "the database has no role {}: make it first, by CREATE ROLE … LOGIN; nothing was granted",
            unknown.join(", ")
        ))
        .into())
    }

    /// The statements, for what is there: an older version of the tables lacks some.
    async fn text(
        &self,
        tx: &mut PgConnection,
        grants: &Grants,
        roles: &BTreeMap<String, String>,
    ) -> Result<String, Fault> {
        let schema = self.schema.name();
        let query = sqlx::query(self.statements.relations.clone()).bind(schema.to_owned());
        let mut relations = BTreeMap::new();
        for row in self.ask_in(tx, query).await? {
            if !column::<bool>(&row, "ours")? {
                let why = format!("the tables in {schema} are another role's: grant as the one that migrates");
                return Err(Error::Rejected(why).into());
            }
            relations.insert(column::<String>(&row, "name")?, column::<bool>(&row, "sequence")?);
        }
        if relations.is_empty() {
            return Err(Error::Unmigrated { found: 0, needed: NEEDED }.into());
        }
        let query = sqlx::query(self.statements.functions.clone()).bind(schema.to_owned());
        let functions = self.ask_in(tx, query).await?;
        let functions = functions.iter().map(|row| Ok((column(row, "name")?, column(row, "signature")?)));
        let functions = functions.collect::<Result<Vec<(String, String)>>>()?;

        let mut sql = String::new();
        let mut say = |line: String| sql = std::mem::take(&mut sql) + &line + ";\n";
        // What a role had before goes first, so that it has what its tasks need and nothing else.
        for from in ["PUBLIC"].into_iter().chain(roles.values().map(String::as_str)) {
            for what in ["TABLES", "SEQUENCES", "ROUTINES"] {
                say(format!("REVOKE ALL ON ALL {what} IN SCHEMA {schema} FROM {from}"));
            }
            say(format!("REVOKE ALL ON SCHEMA {schema} FROM {from}"));
        }
        for (names, task) in lists(grants).into_iter().zip(TASKS) {
            let to: Vec<_> = names.iter().filter_map(|name| roles.get(name)).map(String::as_str).collect();
            if to.is_empty() {
                continue;
            }
            let to = to.join(", ");
            say(format!("GRANT USAGE ON SCHEMA {schema} TO {to}"));
            for (name, rights) in task.rights {
                let Some(&sequence) = relations.get(*name) else { continue };
                let sort = if sequence { "SEQUENCE" } else { "TABLE" };
                say(format!("GRANT {rights} ON {sort} {schema}.{name} TO {to}"));
            }
            for (name, signature) in &functions {
                let may = match task.functions {
                    Functions::All => true,
                    Functions::Named(names) => names.contains(&name.as_str()),
                };
                if may {
                    say(format!("GRANT EXECUTE ON FUNCTION {signature} TO {to}"));
                }
            }
        }
        Ok(sql)
    }
}

/// The lists of roles, in the order of the tasks.
fn lists(grants: &Grants) -> [&[String]; 4] {
    [&grants.enqueue, &grants.worker, &grants.scaler, &grants.read]
}
