//! Making changes: a reading, then one call for all, and each alone where Heroku does not want them together.

use std::{collections::HashSet, time::Instant};

use super::{
    HerokuDriver,
    answer::Refusal,
    change::{Ask, ask},
    contradiction,
    facts::Read,
    failure::Failure,
    tokens::{Need, Saving},
    view::{Listing, contradicts, quantity},
};
use crate::driver::{Applied, Change, DriverError};

/// Something that Heroku is asked for, and which of the changes it is for.
pub(super) struct Asked<'c> {
    change: usize,
    pub(super) process_type: &'c str,
    before: u32,
    pub(super) quantity: u32,
}

type Answers = [Option<Result<Applied, DriverError>>];

impl HerokuDriver {
    /// Makes the changes. Heroku takes one quantity per process type and call: several of one pool are made one after
    /// another.
    pub(super) async fn make(&self, changes: &[Change]) -> Vec<Result<Applied, DriverError>> {
        let mut answers = vec![None; changes.len()];
        let mut unsure = HashSet::new();
        loop {
            let mut pools = HashSet::new();
            let open = (0..changes.len()).filter(|&change| answers[change].is_none());
            let next: Vec<usize> = open.filter(|&change| pools.insert(changes[change].pool())).collect();
            if next.is_empty() {
                break;
            }
            let (waiting, next): (Vec<_>, Vec<_>) =
                next.into_iter().partition(|&change| unsure.contains(changes[change].pool()));
            for change in waiting {
                let why = format!("what came of the change of {} before is not known yet", changes[change].pool());
                answers[change] = Some(Err(DriverError::Unavailable(why)));
            }
            self.together(changes, &next, &mut answers).await;
            let unknown = |change: &&usize| matches!(answers[**change], Some(Err(DriverError::Unknown(_))));
            unsure.extend(next.iter().filter(unknown).map(|&change| changes[change].pool()));
        }
        answers.into_iter().map(|answer| answer.expect("each round answers its changes")).collect()
    }

    /// Makes these of the changes, no two of one pool, in one call.
    ///
    /// If Heroku refuses them together, each is asked for alone: one that it does not want harms no other.
    async fn together(&self, changes: &[Change], which: &[usize], answers: &mut Answers) {
        let mut wanted = Vec::new();
        for &change in which {
            match self.allowed(&changes[change]) {
                Ok(process_type) => wanted.push((change, process_type)),
                Err(error) => answers[change] = Some(Err(error)),
            }
        }
        if wanted.is_empty() {
            return;
        }
        let formation = match self.read_formation(self.config.read_timeout.min(self.config.write_timeout)).await {
            Ok(formation) => formation,
            Err(failure) => {
                for (change, _) in wanted {
                    answers[change] = Some(Err(failure.error.clone()));
                }
                return;
            }
        };
        let mut asked = Vec::new();
        for (change, process_type) in wanted {
            let listed = |read: &Read<Listing>| contradicts(&formation, &read.what, process_type);
            if self.lock().listing.as_ref().is_some_and(listed) {
                answers[change] = Some(Err(contradiction(process_type)));
                continue;
            }
            let before = quantity(&formation, process_type);
            match ask(&changes[change], process_type, before) {
                Ok(Ask::For(quantity)) => asked.push(Asked { change, process_type, before, quantity }),
                Ok(Ask::Nothing) => answers[change] = Some(Ok(Applied { desired: before, changed: false })),
                Err(why) => answers[change] = Some(Err(DriverError::Refused(why))),
            }
        }
        if asked.is_empty() {
            return;
        }
        match self.update(&asked).await {
            Ok(made) => {
                for Asked { change, process_type, .. } in asked {
                    let desired = quantity(&made, process_type);
                    answers[change] = Some(Ok(Applied { desired, changed: true }));
                }
            }
            Err(Failure { refusal: Some(_), .. }) if asked.len() > 1 => {
                for Asked { change, .. } in asked {
                    Box::pin(self.together(changes, &[change], answers)).await;
                }
            }
            Err(failure) => {
                if let (Some(refusal), [asked]) = (&failure.refusal, asked.as_slice()) {
                    self.limited(asked, refusal);
                }
                for Asked { change, .. } in asked {
                    answers[change] = Some(Err(failure.error.clone()));
                }
            }
        }
    }

    /// Whether the change may be asked for at all; the process type that it is for.
    fn allowed(&self, change: &Change) -> Result<&str, DriverError> {
        let process_type = self.process_type(change.pool())?;
        let need = match change {
            Change::GrowTo { .. } => Need::Grow,
            Change::Remove { .. } | Change::Complete { .. } | Change::Extend { .. } => Need::Shrink,
        };
        match self.lock().tokens.allow(need, Instant::now()) {
            Ok(()) => Ok(process_type),
            Err(saving @ Saving::Told { .. }) => Err(DriverError::Unavailable(saving.to_string())),
            Err(saving) => Err(DriverError::Refused(saving.to_string())),
        }
    }

    fn limited(&self, asked: &Asked<'_>, refusal: &Refusal) {
        if refusal.is_above_limit() {
            let Asked { process_type, before, quantity, .. } = *asked;
            self.lock().limited(process_type, before, quantity, refusal.limit(), Instant::now());
        }
    }
}
