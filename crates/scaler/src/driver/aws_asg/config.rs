//! Which groups of which region and account, and in whose name.

use std::{collections::BTreeMap, fmt, time::Duration};

use aws_sdk_autoscaling::config::{ProvideCredentials, SharedCredentialsProvider};
use headcount_queue::{Error, Result};

use crate::{driver::PoolRef, pool::PoolSpec};

/// Where a driver's Auto Scaling groups are, and who asks. Always valid.
///
/// Credentials come from the SDK's default chain (environment, profile, web identity, container, instance), unless
/// [given](Self::credentials). They are never printed.
///
/// ```
/// use headcount_scaler::{AwsConfig, PoolSpec};
///
/// let media = PoolSpec::new("media", "video".parse()?, 0..=20)?;
/// let config = AwsConfig::new("eu-west-1")?.pool(&media, "media-workers")?;
/// assert!(config.pool(&PoolSpec::new("mail", "mail".parse()?, 0..=1)?, "media-workers").is_err(), "it is taken");
/// # Ok::<_, headcount_queue::Error>(())
/// ```
#[derive(Clone)]
pub struct AwsConfig {
    pub(super) region: String,
    pub(super) groups: BTreeMap<PoolRef, PoolGroup>,
    pub(super) role_arn: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) credentials: Option<SharedCredentialsProvider>,
    pub(super) boot: Duration,
}

/// A pool's group, and the bounds that the pool would have it allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PoolGroup {
    pub(super) name: String,
    pub(super) min: u32,
    pub(super) max: u32,
}

impl AwsConfig {
    /// No groups yet, in this region (`eu-west-1`).
    ///
    /// # Errors
    /// [`Error::Rejected`] for what cannot be a region's name.
    pub fn new(region: &str) -> Result<Self> {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if region.is_empty() || !region.chars().all(sound) {
            return Err(Error::Rejected(format!("{region:?} is no AWS region: it looks like eu-west-1")));
        }
        Ok(Self {
            region: region.to_owned(),
            groups: BTreeMap::new(),
            role_arn: None,
            profile: None,
            endpoint: None,
            credentials: None,
            boot: Duration::from_secs(90),
        })
    }

    /// This pool's workers live in the Auto Scaling group of this name.
    ///
    /// # Errors
    /// [`Error::Rejected`] for what cannot be a group's name, a pool that has one, and a group that has a pool: two
    /// would undo each other's sizes.
    pub fn pool(mut self, spec: &PoolSpec, group: &str) -> Result<Self> {
        let pool = spec.name();
        if group.is_empty() || group.len() > 255 || group.contains(char::is_control) {
            return Err(Error::Rejected(format!("pool {pool}: {group:?} is no name of an Auto Scaling group")));
        }
        if let Some((other, _)) = self.groups.iter().find(|(_, taken)| taken.name == group) {
            return Err(Error::Rejected(format!(
                "pools {other} and {pool} both have the Auto Scaling group {group}: give each a group of its own"
            )));
        }
        let sized = PoolGroup { name: group.to_owned(), min: spec.min(), max: spec.max() };
        if let Some(other) = self.groups.insert(pool.clone(), sized) {
            return Err(Error::Rejected(format!(
                "pool {pool} has two Auto Scaling groups: {} and {group}",
                other.name
            )));
        }
        Ok(self)
    }

    /// Acts in this role, which is assumed with the credentials found (`arn:aws:iam::123456789012:role/scaler`).
    ///
    /// # Errors
    /// [`Error::Rejected`] for what is no role's ARN.
    pub fn role_arn(mut self, arn: &str) -> Result<Self> {
        if !(arn.starts_with("arn:") && arn.contains(":iam::") && arn.contains(":role/")) {
            return Err(Error::Rejected(format!(
                "role_arn {arn:?} is no role: it looks like arn:aws:iam::123456789012:role/scaler"
            )));
        }
        self.role_arn = Some(arn.to_owned());
        Ok(self)
    }

    /// Takes the credentials of this profile of the AWS configuration files. Default: what `AWS_PROFILE` says.
    ///
    /// # Errors
    /// [`Error::Rejected`] for an empty name.
    pub fn profile(mut self, name: &str) -> Result<Self> {
        if name.is_empty() || name.contains(char::is_control) {
            return Err(Error::Rejected(format!("profile {name:?} is no name of an AWS profile")));
        }
        self.profile = Some(name.to_owned());
        Ok(self)
    }

    /// Speaks to this address instead of the region's. Default: what `AWS_ENDPOINT_URL` or the profile says.
    ///
    /// # Errors
    /// [`Error::Rejected`] for what is no `http` or `https` address, and for one with a password in it, which would be
    /// printed.
    pub fn endpoint(mut self, url: &str) -> Result<Self> {
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = host.and_then(|rest| rest.split(['/', '?', '#']).next());
        if host.is_none_or(|host| host.is_empty() || host.contains(['@', ' '])) {
            return Err(Error::Rejected(
                "the endpoint is no address: it looks like https://autoscaling.eu-west-1.amazonaws.com".into(),
            ));
        }
        self.endpoint = Some(url.to_owned());
        Ok(self)
    }

    /// Takes credentials from here instead of from the SDK's default chain.
    #[must_use]
    pub fn credentials(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        self.credentials = Some(SharedCredentialsProvider::new(provider));
        self
    }

    /// How long an instance usually takes from being asked for to its worker's first claim. Default 90 s.
    ///
    /// One that is missing for longer has its reason looked up; one that is silent for three times as long is lost.
    #[must_use]
    pub fn boot(mut self, boot: Duration) -> Self {
        self.boot = boot;
        self
    }
}

impl fmt::Debug for AwsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, groups, role_arn, profile, endpoint, boot, credentials: _ } = self;
        f.debug_struct("AwsConfig")
            .field("region", region)
            .field("groups", groups)
            .field("role_arn", role_arn)
            .field("profile", profile)
            .field("endpoint", endpoint)
            .field("boot", boot)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_autoscaling::config::Credentials;

    use super::*;

    fn config() -> AwsConfig {
        AwsConfig::new("eu-west-1").unwrap()
    }

    fn spec(name: &str) -> PoolSpec {
        PoolSpec::new(name, name.parse().unwrap(), 0..=3).unwrap()
    }

    #[test]
    fn what_cannot_work_is_refused_when_it_is_said() {
        let refused = |refused: Result<AwsConfig>, word: &str| {
            let error = refused.expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        };
        for region in ["", "Ireland", "eu-west-1.evil.example/"] {
            refused(AwsConfig::new(region), "no AWS region");
        }
        refused(config().pool(&spec("a"), ""), "pool a");
        refused(config().pool(&spec("a"), "g").unwrap().pool(&spec("b"), "g"), "pools a and b both have");
        refused(config().pool(&spec("a"), "g").unwrap().pool(&spec("a"), "h"), "two Auto Scaling groups: g and h");
        refused(config().role_arn("scaler"), "no role");
        refused(config().profile(""), "no name of an AWS profile");
        for url in ["localhost:5000", "ftp://host", "http://", "https:///path", "http://a b"] {
            refused(config().endpoint(url), "no address");
        }
        config().endpoint("http://127.0.0.1:5000").unwrap();
    }

    #[test]
    fn no_secret_is_printed() {
        let secret = "wJalrXUtnFEMI";
        let config = config().credentials(Credentials::new("AKIDEXAMPLE", secret, Some(secret.into()), None, "test"));
        assert!(!format!("{config:?}").contains(secret), "{config:?}");
        let error = config.endpoint(&format!("https://user:{secret}@host")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
}
