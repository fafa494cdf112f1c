//! The calls, each within a time limit and asked again only where that is no harm.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig};
use aws_sdk_autoscaling::{
    Client,
    config::{SharedCredentialsProvider, StalledStreamProtectionConfig, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    types::{Activity, AutoScalingGroup, LifecycleHook},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::time::{Instant, timeout_at};

use super::{
    config::AwsConfig,
    failure::{Failure, Sent},
};

/// How long a reading may take, all its calls together. The reconciler gives a driver 10 s; this is less, so that what
/// is reported is our reason and not its clock.
pub(super) const READ: Duration = Duration::from_secs(9);
/// How long a change may take, asked again or not: a scaler begins one only with more of its lease left.
pub(super) const WRITE: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// `DescribeAutoScalingGroups` takes so many names.
const NAMES: usize = 50;
/// With less time left than this a call is not made again: it would end in "not known" where "did not happen" is true.
const ANSWER: Duration = Duration::from_secs(1);
/// The longest pause before a call that was turned away is made again.
const PAUSE: Duration = Duration::from_secs(1);

/// Auto Scaling, version 2011-01-01.
#[derive(Clone)]
pub(super) struct Calls {
    client: Client,
}

/// Makes a call until it is no longer turned away, or the deadline comes.
async fn ask<T, E, F>(deadline: Instant, call: impl Fn(Sent) -> F) -> Result<T, Failure>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    let limit = deadline.saturating_duration_since(Instant::now());
    let mut pause = Duration::from_millis(100);
    loop {
        let sent = Sent::default();
        let failure = match timeout_at(deadline, call(sent.clone())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Failure::of(&error, &sent),
            Err(_) => return Err(sent.late(limit)),
        };
        let wait = pause.mul_f64(rand::random_range(0.5..1.0));
        if !matches!(failure, Failure::Busy(_)) || Instant::now() + wait + ANSWER >= deadline {
            return Err(failure);
        }
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(PAUSE);
    }
}

impl Calls {
    /// Reads the environment and the AWS configuration files; makes no call.
    pub(super) async fn new(config: &AwsConfig) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .http_client(http)
            // Ours know which answers are safe to ask again, and when the time is up.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &config.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(credentials) = &config.credentials {
            loader = loader.credentials_provider(credentials.clone());
        }
        let mut shared = loader.load().await;
        if let Some(role) = &config.role_arn {
            let role = AssumeRoleProvider::builder(role).session_name("headcount").configure(&shared).build().await;
            shared = shared.into_builder().credentials_provider(SharedCredentialsProvider::new(role)).build();
        }
        Self { client: Client::new(&shared) }
    }

    /// The groups of these names, as far as there are any.
    pub(super) async fn groups(&self, names: &[String], deadline: Instant) -> Result<Vec<AutoScalingGroup>, Failure> {
        let mut groups = Vec::new();
        for names in names.chunks(NAMES) {
            let mut token = None;
            loop {
                let page = ask(deadline, |sent| {
                    let request = self.client.describe_auto_scaling_groups().max_records(100);
                    let request = request.set_auto_scaling_group_names(Some(names.to_vec()));
                    request.set_next_token(token.clone()).customize().interceptor(sent).send()
                })
                .await?;
                groups.extend(page.auto_scaling_groups.unwrap_or_default());
                token = page.next_token.filter(|token| !token.is_empty());
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(groups)
    }

    /// The latest activities of a group, the latest first.
    pub(super) async fn activities(&self, group: &str, deadline: Instant) -> Result<Vec<Activity>, Failure> {
        let answer = ask(deadline, |sent| {
            let request = self.client.describe_scaling_activities().auto_scaling_group_name(group);
            request.max_records(20).customize().interceptor(sent).send()
        });
        Ok(answer.await?.activities.unwrap_or_default())
    }

    /// The lifecycle hooks of a group.
    pub(super) async fn hooks(&self, group: &str, deadline: Instant) -> Result<Vec<LifecycleHook>, Failure> {
        let answer = ask(deadline, |sent| {
            let request = self.client.describe_lifecycle_hooks().auto_scaling_group_name(group);
            request.customize().interceptor(sent).send()
        });
        Ok(answer.await?.lifecycle_hooks.unwrap_or_default())
    }

    /// Sets a group's desired capacity, in units, whatever its cool-down.
    pub(super) async fn set_desired(&self, group: &str, units: u32, deadline: Instant) -> Result<(), Failure> {
        let units = i32::try_from(units).unwrap_or(i32::MAX);
        let answer = ask(deadline, |sent| {
            let request = self.client.set_desired_capacity().auto_scaling_group_name(group);
            request.desired_capacity(units).honor_cooldown(false).customize().interceptor(sent).send()
        });
        answer.await.map(drop)
    }

    /// Has an instance terminated and not replaced.
    pub(super) async fn terminate(&self, instance: &str, deadline: Instant) -> Result<(), Failure> {
        let answer = ask(deadline, |sent| {
            let request = self.client.terminate_instance_in_auto_scaling_group().instance_id(instance);
            request.should_decrement_desired_capacity(true).customize().interceptor(sent).send()
        });
        answer.await.map(drop)
    }

    /// Ends an instance's wait in a lifecycle hook.
    pub(super) async fn complete(
        &self,
        group: &str,
        hook: &str,
        instance: &str,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let answer = ask(deadline, |sent| {
            let request = self.client.complete_lifecycle_action().auto_scaling_group_name(group);
            let request = request.lifecycle_hook_name(hook).instance_id(instance).lifecycle_action_result("CONTINUE");
            request.customize().interceptor(sent).send()
        });
        answer.await.map(drop)
    }

    /// Has an instance wait in a lifecycle hook for as long again.
    pub(super) async fn heartbeat(
        &self,
        group: &str,
        hook: &str,
        instance: &str,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let answer = ask(deadline, |sent| {
            let request = self.client.record_lifecycle_action_heartbeat().auto_scaling_group_name(group);
            request.lifecycle_hook_name(hook).instance_id(instance).customize().interceptor(sent).send()
        });
        answer.await.map(drop)
    }
}
