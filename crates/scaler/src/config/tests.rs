//! What a text becomes, and what is said about one that is wrong.

use std::time::Duration;

use super::*;
use crate::Policy;

const S: Duration = Duration::from_secs(1);

#[test]
fn a_whole_file_is_read_as_it_is_meant() {
    let config = Config::parse(include_str!("tests/good.toml")).unwrap();
    let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["worker", "batch", "here", "elsewhere", "legacy"], "in the order of the text");
    let worker = &config.pools[0];
    let queues: Vec<_> = worker.queues.iter().map(|queue| (queue.name.as_str(), queue.start_within)).collect();
    assert_eq!(queues, [("default", Some(60 * S)), ("mail", Some(120 * S))]);
    let token = |pool: usize| match &config.pools[pool].driver {
        DriverConfig::Heroku { token_env, .. } => token_env.clone(),
        other => panic!("{other}"),
    };
    assert_eq!((token(0), worker.policy), ("ACME_TOKEN".into(), Policy::WaitingTime));
    assert_eq!(config.pools[1].policy, Policy::Linear);
    for pool in &config.pools {
        pool.spec().unwrap();
    }
    assert_eq!(config.pools[1].spec().unwrap().rules_in_force().schedule.entries().len(), 2);
}

#[test]
fn the_effective_table_shows_every_value_and_marks_the_defaults() {
    let config = Config::parse(include_str!("tests/good.toml")).unwrap();
    assert_eq!(config.table().to_string(), include_str!("tests/good.table"));
}

#[test]
fn every_key_of_the_table_is_a_key_of_the_file_and_documented() {
    let config = Config::parse(Config::EXAMPLE).unwrap();
    let docs = include_str!("../config.rs");
    for row in config.table().rows {
        assert!(docs.contains(&format!("`{}`", row.key)), "{}", row.key);
    }
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_place_and_its_remedy() {
    let mistakes = Config::parse(include_str!("tests/twenty.toml")).unwrap_err();
    assert!(mistakes.iter().count() >= 20);
    assert_eq!(mistakes.to_string() + "\n", include_str!("tests/twenty.expected"));
}

#[test]
fn a_budget_needs_a_price_where_the_platforms_is_not_known() {
    let with = |driver: &str, rest: &str| {
        let text = format!("[pool.here]\nqueues = [\"a\"]\nmax = 2\ndriver = {driver}\nbudget = 10\n{rest}");
        Config::parse(&text).map(|config| config.pools[0].rules.budget).map_err(|mistakes| mistakes.to_string())
    };
    let ten = crate::Money::new(10.0);
    assert_eq!(with("{ heroku = { app = \"a\", process = \"w\" } }", ""), Ok(ten));
    assert_eq!(with("{ noop = {} }", "price = 1"), Ok(ten));
    assert!(with("{ noop = {} }", "").unwrap_err().contains("needs a `price`"));
}

#[test]
fn no_message_repeats_what_may_be_a_secret() {
    for line in [
        "token = \"s3cret\"",
        "token_env = \"s3cret-s3cret\"",
        "driver = { heroku = { app = \"a\", process = \"w\", token = \"s3cret\" } }",
        "driver = { heroku = { app = \"a\", process = \"w\", api_key = \"s3cret\" } }",
        "driver = { aws = { group = \"g\", secret_access_key = \"s3cret\" } }",
        "source = { sql = \"SELECT 1\", url = \"postgres://u:s3cret@h/d\" }",
        "source = { sql = \"SELECT 1\", url_env = \"postgres://u:s3cret@h/d\" }",
        "passwrd = \"s3cret\"",
    ] {
        let text = format!("[pool.here]\nqueues = [\"a\"]\nmax = 1\n{line}\n");
        let text = if line.starts_with("driver") { text } else { text + "driver = { noop = {} }\n" };
        let mistakes = Config::parse(&text).unwrap_err().to_string();
        assert!(!mistakes.contains("s3cret"), "{mistakes}");
        assert!(line.starts_with("passwrd") || mistakes.contains("_env"), "{line}: {mistakes}");
    }
}

fn mistakes(text: &str) -> Vec<String> {
    Config::parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_no_toml_is_told_by_its_place_and_draws_no_others_after_it() {
    let open = mistakes("[pool.here]\nqueues = [\"a\"\nmax = 1\n[pool.there]\nmax = 1\n");
    assert_eq!(open, ["line 3, column 1: missing comma between array elements, expected `,`"]);
    let twice = "[pool.here]\nmax = = 1\nmin = 0\nmax = 2\nmx = 1\ndriver = { noop = {} }\nmin = 1\n";
    let found = mistakes(twice);
    let places: Vec<&str> = found.iter().filter_map(|mistake| mistake.split(':').next()).collect();
    assert_eq!(places, ["line 2, column 7", "line 4, column 1", "line 5, column 1", "line 7, column 1"], "{found:#?}");
}

#[test]
fn numbers_are_read_as_toml_writes_them() {
    let text = "[pool.here]\nqueues = [\"a\"]\ndriver = { noop = {} }\nmax = 1_000\nmin = 0x10\nprice = 1_0.5\n";
    let pool = &Config::parse(text).unwrap().pools[0];
    assert_eq!((pool.max, pool.min, pool.rules.price), (1000, 16, crate::Money::new(10.5)));
}

#[test]
fn columns_count_characters() {
    let text = "[pool.\"größe\"]\nqueues = [\"größe\", \"b b\"]\ndriver = { noop = {} }\nmax = 1\n";
    assert!(mistakes(text)[0].starts_with("line 2, column 20: \"b b\" is no name"), "{:?}", mistakes(text));
}

#[test]
fn an_empty_file_says_how_a_pool_begins() {
    for text in ["", "\n# nothing\n", "[pool]\n"] {
        let found = mistakes(text);
        assert!(found.len() == 1 && found[0].contains("[pool.worker]"), "{found:?}");
    }
}

fn pools(pools: &[(&str, &str, &str)]) -> Result<Config, Mistakes> {
    let pool = |&(name, queues, more): &(&str, &str, &str)| {
        format!("[pool.{name}]\nqueues = {queues}\ndriver = {{ noop = {{}} }}\nmax = 1\n{more}\n")
    };
    Config::parse(&pools.iter().map(pool).collect::<String>())
}

#[test]
fn a_queue_belongs_to_one_pool_unless_it_overflows() {
    let refused = |found: Result<Config, Mistakes>, words: &[&str]| {
        let found = found.unwrap_err().to_string();
        assert_eq!(found.lines().count(), 1, "{found}");
        assert!(words.iter().all(|word| found.contains(word)), "{found}");
    };
    let (a, over) = ("[\"a\"]", "overflow_of = \"one\"");
    refused(pools(&[("one", a, ""), ("two", "[\"b\", \"a\"]", "")]), &["line 7, ", "line 2", "one", "two", "serve a,"]);
    refused(pools(&[("one", "[\"*\"]", ""), ("two", a, "")]), &["serve a,"]);
    refused(pools(&[("one", "[\"a.*\"]", ""), ("two", "{ \"a.b\" = \"1s\" }", "")]), &["serve a.b,"]);
    pools(&[("one", "[\"*\"]", ""), ("two", "[\"run:x\"]", "")]).unwrap();
    pools(&[("one", a, ""), ("two", a, over)]).unwrap();
    pools(&[("two", a, over), ("one", a, "")]).unwrap();
    // A chain has an order; two that take the same overflow have none.
    let chain = pools(&[("one", a, ""), ("two", a, over), ("three", a, "overflow_of = \"two\"")]).unwrap();
    let three = chain.pools[2].spec().unwrap();
    assert_eq!(three.takes_overflow_of(), ["two".into(), "one".into()]);
    assert_eq!(three.shares_with(&chain.pools[0].spec().unwrap()), None, "the scaler allows what the file does");
    refused(pools(&[("one", a, ""), ("two", a, over), ("three", a, over)]), &["two", "three"]);

    refused(pools(&[("one", a, ""), ("two", "[\"b\"]", "overflow_of = \"on\"")]), &["did you mean \"one\""]);
    refused(pools(&[("one", a, ""), ("two", "[\"b\"]", over)]), &["share no queue"]);
    refused(pools(&[("one", a, over)]), &["circle: one → one"]);
    let circle = pools(&[("one", a, "overflow_of = \"two\""), ("two", a, over), ("three", a, over)]).unwrap_err();
    assert_eq!(circle.iter().filter(|mistake| mistake.message.contains("circle")).count(), 2, "{circle}");
}

#[test]
fn an_overflow_serves_what_the_other_does_and_knows_its_work() {
    let refused = |found: Result<Config, Mistakes>, words: &[&str]| {
        let found = found.unwrap_err().to_string();
        assert!(words.iter().all(|word| found.contains(word)), "{found}");
    };
    let over = "overflow_of = \"one\"";
    pools(&[("one", "[\"a\", \"b.*\"]", ""), ("two", "[\"b.c\", \"b.d*\"]", over)]).unwrap();
    pools(&[("one", "[\"*\"]", ""), ("two", "[\"a\"]", over)]).unwrap();
    let found = pools(&[("one", "[\"a\"]", ""), ("two", "[\"a\", \"b\"]", over)]);
    refused(found, &["line 7", "two takes the overflow of one, which does not serve b"]);
    refused(pools(&[("one", "[\"a.b\"]", ""), ("two", "[\"a.*\"]", over)]), &["does not serve a.*"]);
    let source = "source = { sql = \"SELECT 1\", url_env = \"URL\" }";
    refused(pools(&[("one", "[\"a\"]", source), ("two", "[\"a\"]", over)]), &["a source of its own"]);
}
