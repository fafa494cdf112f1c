//! The machine that a worker runs on, as far as a platform can be asked about it: an instance of EC2.

use anyhow::Result;
use headcount_worker::ec2::{Ec2, Notice};
use tracing::{info, warn};

use super::told;
use crate::env::{self, Env};

/// This machine's metadata, if it is an instance of EC2 or the environment says where they are. A dyno is not asked: it
/// lives on such an instance, which is Heroku's.
pub(super) fn find(env: &Env) -> Result<Option<Ec2>> {
    find_on(env, Ec2::is_here)
}

fn find_on(env: &Env, is_ec2: impl Fn() -> bool) -> Result<Option<Ec2>> {
    let off = env.get(&env::AWS_EC2_METADATA_DISABLED)?.is_some_and(|off| off.eq_ignore_ascii_case("true"));
    let endpoint = env.get(&env::AWS_EC2_METADATA_SERVICE_ENDPOINT)?;
    if off || env.get(&env::DYNO)?.is_some() || (endpoint.is_none() && !is_ec2()) {
        return Ok(None);
    }
    Ec2::new(endpoint).map(Some).map_err(told)
}

/// The instance's id. A worker without one runs jobs all the same.
pub(super) async fn name(machine: &Ec2) -> Option<String> {
    match machine.instance_id().await {
        Ok(id) => {
            info!(instance = id, "the instance, by its metadata");
            Some(id)
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            warn!(
                error,
                "this looks like an EC2 instance, and its id cannot be asked for: a scaler does not know where this worker \
                 lives. In a container, raise the instance's metadata hop limit to 2; or set HEADCOUNT_INSTANCE; \
                 AWS_EC2_METADATA_DISABLED=true says that it need not be known"
            );
            None
        }
    }
}

/// Whether the instance is about to end, so that no worker should begin on it.
pub(super) async fn is_over(machine: &Ec2) -> bool {
    match machine.notice().await {
        Ok(Some(Notice::Ending)) => {
            info!("Auto Scaling ends this instance: no worker starts on it");
            true
        }
        Ok(Some(Notice::TakenBack(within))) => {
            info!(?within, "this Spot instance is taken back: no worker starts on it");
            true
        }
        // It is asked again while the worker runs.
        Ok(None) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_asked_where_there_is_one_and_a_dyno_is_not() {
        let found = |variables: [(&str, &str); 2], here| {
            find_on(&Env::of(variables, None), || here).map(|found| found.is_some()).map_err(|error| error.to_string())
        };
        let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
        let none = ("USER", "ada");
        assert_eq!(found([none, none], false), Ok(false));
        assert_eq!(found([none, none], true), Ok(true));
        assert_eq!(found([endpoint, none], false), Ok(true));
        assert_eq!(found([endpoint, ("AWS_EC2_METADATA_DISABLED", "True")], true), Ok(false));
        assert_eq!(found([endpoint, ("AWS_EC2_METADATA_DISABLED", "false")], true), Ok(true));
        assert_eq!(found([("DYNO", "worker.1"), none], true), Ok(false));
        let wrong = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "localhost");
        assert!(found([wrong, none], false).unwrap_err().contains("localhost"));
    }
}
