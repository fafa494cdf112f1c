//! What the driver remembers between its calls: the latest readings, and what Heroku has said about limits.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{
    answer::Formation,
    config::HerokuConfig,
    sizes::DynoSize,
    tokens::Tokens,
    view::{self, Listing},
};

/// While a change is under way the dynos are read this often.
const CHANGING: Duration = Duration::from_secs(10);
/// A change that is not to be seen after this long is not waited for any more.
const CHANGED: Duration = Duration::from_mins(3);
/// After a change without an answer everything is read anew until a reading is so much younger: it may still be on its
/// way to Heroku, and what came of it is believed after twice the time limit of a call.
const UNSURE: Duration = Duration::from_secs(30);
/// With few tokens left a reading may get older, but not so old that the scaler holds: it would not grow either.
const SCARCE: Duration = Duration::from_secs(90);
/// A limit that Heroku told is believed for so long. It is raised on request, and other dynos of the account go.
const LIMIT: Duration = Duration::from_mins(10);

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) formation: Option<Read<Vec<Formation>>>,
    pub(super) listing: Option<Read<Listing>>,
    pub(super) tokens: Tokens,
    /// The newest release seen. One that nothing runs any more was still the newest.
    pub(super) release: Option<u64>,
    /// When the formation was changed last.
    pub(super) changed_at: Option<Instant>,
    /// When a change was sent whose outcome is not known.
    pub(super) unsure_since: Option<Instant>,
    limits: HashMap<String, (u32, Instant)>,
    without_numbers: HashSet<String>,
}

/// Something that was read, and when it was asked for: so its age is never understated.
#[derive(Debug)]
pub(super) struct Read<T> {
    pub(super) at: Instant,
    pub(super) what: T,
}

/// What is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) formation: bool,
    pub(super) listing: bool,
}

impl Facts {
    /// What has to be read before the next look.
    pub(super) fn due(&self, config: &HerokuConfig, now: Instant) -> Due {
        let scarce = self.tokens.are_scarce();
        let every = if scarce { config.read_every.max(SCARCE) } else { config.read_every };
        let unsure_until = self.unsure_since.map(|since| since + UNSURE);
        let old = |at: Option<Instant>| match at {
            None => true,
            Some(at) => now.duration_since(at) >= every || unsure_until.is_some_and(|until| at < until),
        };
        let listed_at = self.listing.as_ref().map(|read| read.at);
        let changing = || {
            let (Some(formation), Some(listing), Some(changed_at)) = (&self.formation, &self.listing, self.changed_at)
            else {
                return false;
            };
            now.duration_since(changed_at) < CHANGED
                && now.duration_since(listing.at) >= CHANGING
                && config.pools.values().any(|pool| view::is_changing(&formation.what, &listing.what, pool))
        };
        let formation = old(self.formation.as_ref().map(|read| read.at));
        let listing = old(listed_at) || listed_at < self.changed_at || (!scarce && changing());
        Due { formation, listing }
    }

    /// Takes note of a list of dynos.
    pub(super) fn list(&mut self, config: &HerokuConfig, listing: Listing, at: Instant) {
        self.release = self.release.max(listing.release());
        for process_type in config.pools.values() {
            if listing.is_without_numbers(process_type) {
                self.without_numbers.insert(process_type.clone());
            }
        }
        self.listing = Some(Read { at, what: listing });
    }

    /// A change is about to be sent: until its answer is here nothing that was read holds any more. This comes first,
    /// since the call may be dropped half-way.
    pub(super) fn sending(&mut self, now: Instant) -> Option<Read<Vec<Formation>>> {
        self.unsure_since = Some(now);
        self.changed_at = Some(now);
        self.listing = None;
        self.formation.take()
    }

    /// Heroku has answered clearly: this is the formation now. `changed`: whether it did anything.
    pub(super) fn answered(&mut self, formation: Option<Read<Vec<Formation>>>) {
        self.unsure_since = None;
        self.formation = formation;
    }

    /// Heroku has refused to go from `quantity` to `asked`, saying perhaps how far it would.
    ///
    /// Without a number, or with one that is for the whole account, half of the way is tried next.
    pub(super) fn limited(&mut self, process_type: &str, quantity: u32, asked: u32, told: Option<u32>, now: Instant) {
        let half = quantity + asked.saturating_sub(quantity) / 2;
        let most = told.filter(|told| *told < asked).unwrap_or(half).max(quantity);
        self.limits.insert(process_type.to_owned(), (most, now + LIMIT));
    }

    /// The most dynos that Heroku gives this process type, as far as it is known.
    pub(super) fn most(&self, process_type: &str, now: Instant) -> Option<u32> {
        let told = self.limits.get(process_type).filter(|(_, until)| *until > now).map(|(most, _)| *most);
        // What there is already is proof that there may be so many.
        let by_size = self.size(process_type).and_then(|size| size.most);
        let by_size = by_size.map(|most| most.max(self.quantity(process_type)));
        told.into_iter().chain(by_size).min()
    }

    /// The size of its dynos, if it is one that is known here.
    pub(super) fn size(&self, process_type: &str) -> Option<&'static DynoSize> {
        let formation = &self.formation.as_ref()?.what;
        let entry = formation.iter().find(|entry| entry.process_type == process_type)?;
        DynoSize::named(entry.size()?)
    }

    fn quantity(&self, process_type: &str) -> u32 {
        self.formation.as_ref().map_or(0, |read| view::quantity(&read.what, process_type))
    }

    /// Whether its dynos have been seen without numbers.
    pub(super) fn is_without_numbers(&self, process_type: &str) -> bool {
        self.without_numbers.contains(process_type)
    }
}

#[cfg(test)]
impl Facts {
    /// As if so much time had passed.
    pub(super) fn get_older(&mut self, time: Duration) {
        let times = [&mut self.changed_at, &mut self.unsure_since].into_iter().flatten();
        let read =
            self.formation.iter_mut().map(|read| &mut read.at).chain(self.listing.iter_mut().map(|read| &mut read.at));
        times.chain(read).chain(self.limits.values_mut().map(|(_, until)| until)).for_each(|at| *at -= time);
        self.tokens.get_older(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::heroku::Token;

    const S: Duration = Duration::from_secs(1);

    fn config() -> HerokuConfig {
        let config = HerokuConfig::new("my-shop", Token::new("T", "t").unwrap()).unwrap();
        config.pool("mail", "worker").unwrap()
    }

    fn formation(quantity: u32, size: &str) -> Vec<Formation> {
        let json = serde_json::json!([{"type": "worker", "quantity": quantity, "size": size}]);
        serde_json::from_value(json).unwrap()
    }

    fn read_at(at: Instant, quantity: u32, dynos: u32) -> Facts {
        let dyno = |n| serde_json::json!({"name": format!("worker.{n}"), "type": "worker", "state": "up"});
        let dynos = (1..=dynos).map(|n| serde_json::from_value(dyno(n)).unwrap()).collect();
        let mut facts =
            Facts { formation: Some(Read { at, what: formation(quantity, "Standard-1X") }), ..Facts::default() };
        facts.list(&config(), Listing { dynos, served_at: None }, at);
        facts
    }

    fn due(facts: &Facts, now: Instant) -> (bool, bool) {
        let due = facts.due(&config(), now);
        (due.formation, due.listing)
    }

    #[test]
    fn a_calm_app_is_read_once_a_minute() {
        let at = Instant::now();
        assert_eq!(due(&Facts::default(), at), (true, true));
        let facts = read_at(at, 2, 2);
        assert_eq!(due(&facts, at + 59 * S), (false, false));
        assert_eq!(due(&facts, at + 60 * S), (true, true));
    }

    #[test]
    fn after_a_change_the_dynos_are_read_until_it_is_seen() {
        let at = Instant::now();
        let mut facts = read_at(at, 3, 2);
        assert_eq!(due(&facts, at + 10 * S), (false, false), "a difference of old standing is no change");
        facts.changed_at = Some(at + S);
        assert_eq!(due(&facts, at + 2 * S), (false, true), "they were read before the change");
        facts.listing.as_mut().unwrap().at = at + 2 * S;
        assert_eq!(due(&facts, at + 11 * S), (false, false));
        assert_eq!(due(&facts, at + 12 * S), (false, true));
        facts.formation.as_mut().unwrap().what = formation(2, "basic");
        assert_eq!(due(&facts, at + 12 * S), (false, false), "it is seen");
    }

    #[test]
    fn after_a_lost_answer_everything_is_read_anew_until_it_cannot_be_on_its_way() {
        let at = Instant::now();
        let mut facts = read_at(at, 2, 2);
        let formation = facts.sending(at);
        assert_eq!(due(&facts, at), (true, true), "there is nothing to answer from");
        facts.formation = formation;
        facts.formation.as_mut().unwrap().at = at + 29 * S;
        assert_eq!(due(&facts, at + 29 * S), (true, true));
        facts.formation.as_mut().unwrap().at = at + 30 * S;
        assert_eq!(due(&facts, at + 30 * S), (false, true));
    }

    #[test]
    fn with_few_tokens_left_it_is_read_just_often_enough_to_grow() {
        let at = Instant::now();
        let mut facts = read_at(at, 3, 2);
        facts.changed_at = Some(at);
        facts.tokens.told(100, at);
        assert_eq!(due(&facts, at + 89 * S), (false, false));
        assert_eq!(due(&facts, at + 90 * S), (true, true));
    }

    #[test]
    fn a_limit_is_remembered_for_a_while_and_never_below_what_there_is() {
        let at = Instant::now();
        let mut facts = read_at(at, 2, 2);
        assert_eq!(facts.most("worker", at), None);
        for (told, most) in [(Some(5), 5), (Some(1), 2), (Some(10), 6), (None, 6)] {
            facts.limited("worker", 2, 10, told, at);
            assert_eq!(facts.most("worker", at + LIMIT.saturating_sub(S)), Some(most), "{told:?}");
        }
        assert_eq!(facts.most("worker", at + LIMIT), None);
    }

    #[test]
    fn a_size_of_which_there_is_but_one_says_so() {
        let at = Instant::now();
        let mut facts = read_at(at, 1, 1);
        facts.formation.as_mut().unwrap().what = formation(1, "Basic");
        assert_eq!(facts.most("worker", at), Some(1));
        facts.formation.as_mut().unwrap().what = formation(3, "Basic");
        assert_eq!(facts.most("worker", at), Some(3), "there are three: this account may");
    }
}
