//! The statements: each lies in a file of its own, with what it needs, returns and locks.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::schema::Schema;

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// The text of each statement, made once.
        #[derive(Debug)]
        pub(super) struct Statements {
            $($(#[$doc])* pub(super) $name: SqlStr,)*
            /// Claims and settles nothing.
            pub(super) claim: SqlStr,
            /// Settles what completed and leaves no trace, and claims.
            pub(super) claim_fused: SqlStr,
        }

        impl Statements {
            /// For the tables in this schema.
            pub(super) fn new(schema: &Schema) -> Self {
                let claim = include_str!("claim.sql");
                Self {
                    $($name: text(schema, &[include_str!(concat!(stringify!($name), ".sql"))]),)*
                    claim: text(schema, &[include_str!("claim_pure.sql"), claim]),
                    claim_fused: text(schema, &[include_str!("claim_fused.sql"), claim]),
                }
            }

            /// Every statement by its name.
            #[cfg(test)]
            fn all(&self) -> Vec<(&'static str, &str)> {
                vec![
                    $((stringify!($name), self.$name.as_str()),)*
                    ("claim", self.claim.as_str()),
                    ("claim_fused", self.claim_fused.as_str()),
                ]
            }
        }
    };
}

statements! {
    enqueue_now enqueue
    sweep_any sweep_listed bodies settle
    register beat unanswered lock_worker owns deregister
    now job jobs state attempts queues workers outstanding next_due next_due_of_all
    take_duty promote fold heads purge forget_states forget_heads audit
    mark_dead bury orphans forget_dead
    cancel retry delete pause drain recall leave stay
    version migration_lock migration_place migrations_done migration_note migration_index untimed
    introspect roles relations functions
}

/// The statement without the comments that begin its lines: they are for readers, not for the wire.
fn text(schema: &Schema, parts: &[&str]) -> SqlStr {
    let mut text = String::new();
    for line in parts.iter().flat_map(|part| part.lines()).filter(|line| !line.trim_start().starts_with("--")) {
        text.push_str(line);
        text.push('\n');
    }
    AssertSqlSafe(schema.told(&text)).into_sql_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_relies_on_the_search_path() {
        let tables = [
            "ready",
            "running",
            "later",
            "held",
            "finished",
            "body",
            "attempt",
            "worker",
            "queue",
            "duty",
            "tally",
            "lane",
            "queue_state",
            "lane_head",
            "jobs",
        ];
        for (name, sql) in Statements::new(&Schema::default()).all() {
            // A statement's own names hide a table's: those of its WITH.
            let own: Vec<_> = sql.split(" AS ").filter_map(|before| before.split_whitespace().last()).collect();
            for verb in ["FROM ", "JOIN ", "INTO ", "UPDATE ", "USING "] {
                for after in sql.split(verb).skip(1) {
                    let word: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    assert!(
                        !tables.contains(&&*word) || own.contains(&&*word),
                        "{name}: {word} is named without its schema"
                    );
                }
            }
        }
    }

    #[test]
    fn every_file_says_what_it_is_for() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
        let known: Vec<_> = Statements::new(&Schema::default()).all().into_iter().map(|(name, _)| name).collect();
        for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "sql") {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(text.starts_with("-- "), "{} has no header", file.display());
                let name = file.file_stem().unwrap().to_str().unwrap();
                assert!(known.contains(&name) || ["claim_pure", "schema"].contains(&name), "{name}.sql is not used");
            }
        }
    }
}
