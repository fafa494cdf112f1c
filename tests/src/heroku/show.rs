//! What Heroku keeps, as the API shows it.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{
    dyno::State,
    platform::{Entry, Platform},
};

impl Platform {
    /// The formation as the API shows it.
    pub(super) fn formation(&self) -> Vec<Value> {
        let kept = self.lock();
        let shown = kept.formation.iter().filter(|(_, entry)| entry.quantity > 0 || !self.settings.hides_empty);
        shown.map(|(name, entry)| self.entry(name, entry)).collect()
    }

    /// One process type, whether the list shows it or not.
    pub(super) fn process_type(&self, name: &str) -> Value {
        self.entry(name, &self.lock().formation[name])
    }

    fn entry(&self, name: &str, entry: &Entry) -> Value {
        let process = &self.settings.processes[name];
        let at = self.settings.processes.keys().position(|known| known == name).unwrap_or_default() as u64;
        json!({
            "app": self.app(),
            "command": process.shown(),
            "created_at": shown_time(self.settings.started_at),
            "dyno_size": {"id": uuid(1, at), "name": process.size},
            "id": uuid(2, at),
            "quantity": entry.quantity,
            "size": process.size,
            "type": name,
            "updated_at": shown_time(entry.updated_at),
        })
    }

    /// The dynos as the API shows them.
    pub(super) fn dynos(&self) -> Vec<Value> {
        let kept = self.lock();
        let shown = kept.dynos.iter().filter(|dyno| self.settings.lists_ending || dyno.state != State::Ending);
        shown
            .map(|dyno| {
                let process = &self.settings.processes[&dyno.process_type];
                let state = match dyno.state {
                    State::Starting => "starting",
                    State::Up => "up",
                    State::Crashed => "crashed",
                    State::Ending => "down",
                };
                json!({
                    "app": self.app(),
                    "attach_url": null,
                    "command": process.shown(),
                    "created_at": shown_time(dyno.created_at),
                    "id": uuid(3, dyno.id),
                    "name": dyno.name,
                    "release": {"id": uuid(4, dyno.release), "version": dyno.release},
                    "size": process.size,
                    "state": state,
                    "type": dyno.process_type,
                    "updated_at": shown_time(self.settings.now()),
                })
            })
            .collect()
    }

    fn app(&self) -> Value {
        json!({"id": uuid(0, 0), "name": self.settings.app})
    }
}

fn shown_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn uuid(kind: u64, number: u64) -> String {
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}
