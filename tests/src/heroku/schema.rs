//! Heroku's own schema: which calls there are, and what may be asked and answered.

use std::sync::OnceLock;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

const SCHEMA: &str = include_str!("schema.json");

/// A call of the API.
#[derive(Debug)]
pub(super) struct Link {
    method: String,
    /// The parts of its path; `None` for one that is filled in.
    path: Vec<Option<String>>,
    /// What is asked, where something is.
    request: Option<Part>,
    answer: Part,
}

/// A part of the schema, made ready when it is first needed: a test needs few, and each takes its time.
#[derive(Debug)]
struct Part {
    pointer: String,
    validator: OnceLock<Validator>,
}

/// The call of this method and path; none if the schema has no such.
pub(super) fn link(method: &str, path: &str) -> Option<&'static Link> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    links().iter().find(|link| link.method == method && link.leads_to(&parts))
}

impl Link {
    /// What is wrong with the body of a request.
    pub(super) fn request_errors(&self, body: &[u8]) -> Vec<String> {
        match (&self.request, body) {
            (None, []) => Vec::new(),
            (None, _) => vec!["a body where none belongs".into()],
            (Some(part), body) => match serde_json::from_slice(body) {
                Ok(value) => part.errors(&value),
                Err(error) => vec![format!("no JSON: {error}")],
            },
        }
    }

    /// What is wrong with an answer.
    pub(super) fn answer_errors(&self, answer: &Value) -> Vec<String> {
        self.answer.errors(answer)
    }

    fn leads_to(&self, parts: &[&str]) -> bool {
        self.path.len() == parts.len()
            && self.path.iter().zip(parts).all(|(own, part)| own.as_ref().is_none_or(|own| own == part))
    }
}

impl Part {
    fn of(pointer: String) -> Self {
        Self { pointer, validator: OnceLock::new() }
    }

    fn errors(&self, value: &Value) -> Vec<String> {
        let schema = self.validator.get_or_init(|| self.compile());
        schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    fn compile(&self) -> Validator {
        let root = json!({
            "$schema": "http://json-schema.org/draft-04/schema#",
            "allOf": [{ "$ref": self.pointer }],
            "definitions": schema()["definitions"],
        });
        let validator = jsonschema::options().with_draft(Draft::Draft4).should_validate_formats(true).build(&root);
        validator.unwrap_or_else(|error| panic!("{}: {error}", self.pointer))
    }
}

fn schema() -> &'static Value {
    static READ: OnceLock<Value> = OnceLock::new();
    READ.get_or_init(|| {
        let mut schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
        tighten(&mut schema);
        schema
    })
}

fn links() -> &'static [Link] {
    static LINKS: OnceLock<Vec<Link>> = OnceLock::new();
    LINKS.get_or_init(|| {
        let resources = schema()["definitions"].as_object().expect("it has definitions");
        let links = resources.iter().flat_map(|(name, resource)| {
            let links = resource["links"].as_array().into_iter().flatten().enumerate();
            links.map(move |(at, link)| (format!("#/definitions/{name}/links/{at}"), link))
        });
        links.map(|(pointer, link)| read(&pointer, link)).collect()
    })
}

fn read(pointer: &str, link: &Value) -> Link {
    let path = link["href"].as_str().expect("a link has an href").trim_matches('/').split('/');
    Link {
        method: link["method"].as_str().expect("a link has a method").to_owned(),
        path: path.map(|part| (!part.starts_with("{(")).then(|| part.to_owned())).collect(),
        request: link.get("schema").map(|_| Part::of(format!("{pointer}/schema"))),
        answer: Part::of(format!("{pointer}/targetSchema")),
    }
}

/// Makes plain schema of what Heroku means: `strictProperties` says that an object has these properties and no others;
/// `identity` is how a path names a thing, and refers to what is not in this part of the schema.
fn tighten(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tighten),
        Value::Object(object) => {
            object.remove("$schema");
            object.remove("identity");
            if object.get("strictProperties") == Some(&Value::Bool(true)) {
                strict(object);
            }
            object.values_mut().for_each(tighten);
        }
        _ => {}
    }
}

fn strict(object: &mut Map<String, Value>) {
    let Some(properties) = object.get("properties").and_then(Value::as_object) else { return };
    let required: Vec<String> = properties.keys().cloned().collect();
    object.insert("required".into(), json!(required));
    object.insert("additionalProperties".into(), json!(false));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update() -> &'static Link {
        link("PATCH", "/apps/shop/formation").unwrap()
    }

    #[test]
    fn a_call_is_found_by_its_method_and_path() {
        assert!(link("GET", "/apps/shop/formation").is_some());
        assert!(link("GET", "/apps/shop/dynos").is_some());
        assert!(link("GET", "/account/rate-limits").is_some());
        assert!(link("PUT", "/apps/shop/formation").is_none());
        assert!(link("GET", "/apps/shop/formation/worker/size").is_none());
    }

    #[test]
    fn what_heroku_would_not_take_is_found() {
        let wrong = |body: &str| update().request_errors(body.as_bytes());
        assert_eq!(wrong(r#"{"updates":[{"type":"worker","quantity":3}]}"#), [""; 0]);
        for body in [
            "",
            "[]",
            "{}",
            r#"{"updates":[{"quantity":3}]}"#,
            r#"{"updates":[{"type":"worker","quantity":"3"}]}"#,
            r#"{"updates":[{"type":"worker","quantity":3.5}]}"#,
            r#"{"updates":[{"type":"worker","quantity":3,"by":1}]}"#,
            r#"{"updates":[{"type":"no type","quantity":3}]}"#,
        ] {
            assert_ne!(wrong(body), [""; 0], "{body}");
        }
        assert_ne!(link("GET", "/apps/shop/dynos").unwrap().request_errors(b"{}"), [""; 0]);
    }

    #[test]
    fn what_heroku_would_not_answer_is_found() {
        let link = link("GET", "/account/rate-limits").unwrap();
        assert_eq!(link.answer_errors(&json!({"remaining": 10})), [""; 0]);
        for answer in [json!({}), json!({"remaining": "10"}), json!({"remaining": 10, "reset": 0}), json!([])] {
            assert_ne!(link.answer_errors(&answer), [""; 0], "{answer}");
        }
        let entry = json!({
            "app": {"name": "shop", "id": "01234567-89ab-cdef-0123-456789abcdef"}, "command": "x",
            "created_at": "2026-01-01T12:00:00Z", "updated_at": "2026-01-01T12:00:00Z",
            "dyno_size": {"name": "standard-1X", "id": "01234567-89ab-cdef-0123-456789abcdef"},
            "id": "01234567-89ab-cdef-0123-456789abcdef", "quantity": 1, "size": "standard-1X", "type": "worker",
        });
        assert_eq!(update().answer_errors(&json!([entry])), [""; 0]);
        for (name, value) in [("created_at", json!("yesterday")), ("id", json!(7)), ("quantity", json!(null))] {
            let mut wrong = entry.clone();
            wrong[name] = value;
            assert_ne!(update().answer_errors(&json!([wrong])), [""; 0], "{name}");
        }
    }
}
