//! The statements: each lies in a file of its own, with what it needs, returns and locks.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::schema::Schema;

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident)*; scale: $($scale:ident)*) => {
        /// The text of each statement, made once.
        #[derive(Debug)]
        pub(super) struct Statements {
            $($(#[$doc])* pub(super) $name: SqlStr,)*
            $(pub(super) $scale: SqlStr,)*
            /// Claims and settles nothing.
            pub(super) claim: SqlStr,
            /// Settles what completed and leaves no trace, and claims.
            pub(super) claim_fused: SqlStr,
            /// The same two, for claims that leave kinds to others.
            pub(super) claim_sparing: SqlStr,
            pub(super) claim_fused_sparing: SqlStr,
            /// The jobs that a filter finds; the second of each pair is for one that names ids.
            pub(super) jobs: [SqlStr; 2],
            /// Their ids only.
            pub(super) pick: [SqlStr; 2],
            /// How many they are.
            pub(super) count: [SqlStr; 2],
        }

        impl Statements {
            /// For the tables in this schema.
            pub(super) fn new(schema: &Schema) -> Self {
                let claim = include_str!("claim.sql");
                let (pure, fused) = (include_str!("claim_pure.sql"), include_str!("claim_fused.sql"));
                let (found, named, page) = (include_str!("found.sql"), include_str!("named.sql"), include_str!("page.sql"));
                let paged = |what: &str| {
                    [text(schema, &[what, found, page]), text(schema, &[what, found, named, page])]
                };
                let count = include_str!("count.sql");
                Self {
                    $($name: text(schema, &[include_str!(concat!(stringify!($name), ".sql"))]),)*
                    $($scale: text(schema, &[include_str!(concat!("scale/", stringify!($scale), ".sql"))]),)*
                    claim: text(schema, &[pure, claim]),
                    claim_fused: text(schema, &[fused, claim]),
                    claim_sparing: text(schema, &[pure, &sparing(claim, "$11")]),
                    claim_fused_sparing: text(schema, &[fused, &sparing(claim, "$13")]),
                    jobs: paged(include_str!("jobs.sql")),
                    pick: paged(include_str!("pick.sql")),
                    count: [text(schema, &[count, found]), text(schema, &[count, found, named])],
                }
            }

            /// Every statement by its name.
            #[cfg(test)]
            fn all(&self) -> Vec<(&'static str, &str)> {
                vec![
                    $((stringify!($name), self.$name.as_str()),)*
                    $((stringify!($scale), self.$scale.as_str()),)*
                    ("claim", self.claim.as_str()),
                    ("claim_fused", self.claim_fused.as_str()),
                    ("claim_sparing", self.claim_sparing.as_str()),
                    ("claim_fused_sparing", self.claim_fused_sparing.as_str()),
                    ("jobs", self.jobs[1].as_str()),
                    ("pick", self.pick[1].as_str()),
                    ("count", self.count[1].as_str()),
                ]
            }
        }
    };
}

statements! {
    enqueue_now enqueue enqueue_keyed wake
    sweep bodies settle
    register beat callback unanswered lock_worker owns deregister
    now job state attempts queues workers outstanding next_due next_due_of_all settings
    take_duty promote expire fold release_again release_keys heads purge forget_states forget_heads forget_history audit
    hold_paused release_paused
    mark_dead bury orphans forget_dead
    cancel retry resolve delete set_queue set_kind drain recall leave stay
    sleep notify listen kind_queues
    version migration_lock migration_place migrations_done migration_note migration_index untimed
    introspect roles relations functions;
    scale:
    take_lease release_lease leases fence
    publish forget_pools pools order free_below long_kinds
    lock_pools places_of places end_drains withhold drained tell restore lock_place let_place_go keep forget_places
    record remember ledger ledger_of waiting long_runs known connections forget_scaling
}

/// Where claim.sql has the part that leaves kinds to others.
const SPARED: &str = "-- Here a claim that leaves kinds to others has claim_spared.sql.";

/// A claim that leaves the kinds of this parameter to others.
fn sparing(claim: &str, parameter: &str) -> String {
    claim.replace(SPARED, &include_str!("claim_spared.sql").trim_end().replace("$spared", parameter))
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
            "coalesce",
            "kind",
            "history",
            "parked",
            "answer",
            "lease",
            "pool",
            "drain",
            "decision",
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
    fn a_claim_leaves_kinds_to_others_only_where_that_is_asked_for_and_by_its_last_parameter() {
        let statements = Statements::new(&Schema::default());
        for (usual, sparing, parameter) in [
            (&statements.claim, &statements.claim_sparing, 11),
            (&statements.claim_fused, &statements.claim_fused_sparing, 13),
        ] {
            let (usual, sparing) = (usual.as_str(), sparing.as_str());
            assert!(!usual.contains(&format!("${parameter}")));
            assert!(sparing.contains(&format!("r.kind <> ALL (${parameter}::text[])")), "{sparing}");
            assert!(!sparing.contains(&format!("${}", parameter + 1)));
            // One condition more, and nothing else.
            let mut rest = sparing.lines();
            assert!(usual.lines().all(|line| rest.any(|other| other == line)));
            assert_eq!(sparing.lines().count(), usual.lines().count() + 4);
        }
    }

    #[test]
    fn every_file_says_what_it_is_for() {
        const PARTS: [&str; 6] = ["claim_pure", "claim_spared", "schema", "found", "named", "page"];
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
        let known: Vec<_> = Statements::new(&Schema::default()).all().into_iter().map(|(name, _)| name).collect();
        let files = [folder.clone(), folder.join("scale")].map(|folder| std::fs::read_dir(folder).unwrap());
        for file in files.into_iter().flatten().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "sql") {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(text.starts_with("-- "), "{} has no header", file.display());
                let name = file.file_stem().unwrap().to_str().unwrap();
                assert!(known.contains(&name) || PARTS.contains(&name), "{name}.sql is not used");
            }
        }
    }
}
