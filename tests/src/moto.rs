//! AWS, as far as a scaler meets it: a real moto, behind a proxy that adds the rules that moto forgets, the instances'
//! machines with their workers, and whatever is to go wrong.
//!
//! ```no_run
//! # use headcount_tests::{Aws, moto::Fault};
//! # async fn test() {
//! let aws = Aws::fresh().await;
//! let group = aws.group(0..=4, 2).await;
//! aws.faults("SetDesiredCapacity", [Fault::THROTTLED, Fault::DoneThenReset]);
//! let endpoint = aws.endpoint();
//! # }
//! ```

mod faults;
mod http;
mod imds;
mod machine;
mod proxy;
pub mod xml;

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use chrono::SecondsFormat;
use tokio::{net::TcpListener, sync::OnceCell, task::JoinSet};

use crate::{
    postgres::unique,
    process::Program,
    script::{Script, blocking},
};
use proxy::Proxy;
use xml::Element;

pub use faults::Fault;
pub use machine::WorkerEnd;

/// Any that exists.
const REGION: &str = "eu-west-1";
/// One that moto brings.
const IMAGE: &str = "ami-12c6146b";
/// Of different sizes.
const TYPES: [&str; 2] = ["t3.small", "t3.medium"];

/// An AWS account of the test's own, in one region. Its groups, instances and workers go when it is dropped.
pub struct Aws {
    proxy: Arc<Proxy>,
    endpoint: String,
    _serving: JoinSet<()>,
}

/// A call as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `SetDesiredCapacity`.
    pub action: String,
    /// What was said with it.
    pub parameters: Vec<(String, String)>,
}

impl Call {
    /// What was said by this name; nothing if it was not.
    pub fn get(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// When instances that are launched have booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Boot {
    /// At once.
    #[default]
    AtOnce,
    /// So much later.
    After(Duration),
    /// When the test [says](Aws::boot) so.
    Held,
}

/// The moto that all tests share: the one at `HEADCOUNT_TEST_MOTO`, or one that lives as long as this process. Its host
/// and port.
async fn shared() -> &'static str {
    static SHARED: OnceCell<(String, Option<Script>)> = OnceCell::const_new();
    let (address, _) = SHARED
        .get_or_init(|| async {
            #[expect(clippy::disallowed_methods, reason = "the tests' own setting; no part of the product reads it")]
            if let Ok(address) = std::env::var("HEADCOUNT_TEST_MOTO") {
                return (address, None);
            }
            let (script, address) = blocking(|| Script::start("private-moto", &[])).await;
            (address, Some(script))
        })
        .await;
    address.trim_start_matches("http://").trim_end_matches('/')
}

impl Aws {
    /// Nothing in it yet.
    ///
    /// # Panics
    /// When there is no moto, saying how to get it.
    pub async fn fresh() -> Self {
        let proxy = Arc::new(Proxy::new(shared().await.to_owned(), REGION.to_owned()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it listens"));
        let mut serving = JoinSet::new();
        let served = Arc::clone(&proxy);
        serving.spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up is what some tests are about.
                calls.spawn(Arc::clone(&served).serve(stream));
                while calls.try_join_next().is_some() {}
            }
        });
        Self { proxy, endpoint, _serving: serving }
    }

    /// Where it is spoken to.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its one region.
    pub fn region(&self) -> &str {
        &self.proxy.region
    }

    /// A new group with these bounds and so many instances. Its name is its own.
    ///
    /// # Panics
    /// When moto does not make it.
    pub async fn group(&self, bounds: RangeInclusive<u32>, desired: u32) -> String {
        self.group_with(bounds, desired, &[]).await
    }

    /// The same, whose instances count so many units each.
    ///
    /// # Panics
    /// When moto does not make it.
    pub async fn weighted_group(&self, bounds: RangeInclusive<u32>, desired: u32, weights: &[u32]) -> String {
        let template = unique("template");
        let parameters = [
            ("Action", "CreateLaunchTemplate"),
            ("LaunchTemplateName", &*template),
            ("LaunchTemplateData.ImageId", IMAGE),
            ("LaunchTemplateData.InstanceType", TYPES[0]),
        ];
        self.proxy.request("ec2", "2016-11-15", &parameters).send(&self.proxy.moto).await.expect("moto answers");
        let policy = "MixedInstancesPolicy.LaunchTemplate";
        let mut more = vec![(format!("{policy}.LaunchTemplateSpecification.LaunchTemplateName"), template)];
        for (at, (weight, kind)) in weights.iter().zip(TYPES).enumerate() {
            let one = format!("{policy}.Overrides.member.{}", at + 1);
            more.push((format!("{one}.InstanceType"), kind.to_owned()));
            more.push((format!("{one}.WeightedCapacity"), weight.to_string()));
        }
        let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.group_with(bounds, desired, &more).await
    }

    async fn group_with(&self, bounds: RangeInclusive<u32>, desired: u32, more: &[(&str, &str)]) -> String {
        let name = unique("workers");
        let [min, max, desired] = [*bounds.start(), *bounds.end(), desired].map(|number| number.to_string());
        let mut parameters = vec![
            ("AutoScalingGroupName", &*name),
            ("MinSize", &min),
            ("MaxSize", &max),
            ("DesiredCapacity", &desired),
            ("AvailabilityZones.member.1", "eu-west-1a"),
            ("AvailabilityZones.member.2", "eu-west-1b"),
        ];
        if more.is_empty() {
            let launch = [("LaunchConfigurationName", &*name), ("ImageId", IMAGE), ("InstanceType", TYPES[0])];
            self.call("CreateLaunchConfiguration", &launch).await;
            parameters.push(("LaunchConfigurationName", &name));
        }
        parameters.extend(more);
        self.call("CreateAutoScalingGroup", &parameters).await;
        name
    }

    /// Makes a call as somebody else than the program under test. It is not among the [calls](Self::calls).
    ///
    /// # Panics
    /// When it is refused.
    pub async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Element {
        let mut all = vec![("Action", action)];
        all.extend(parameters);
        let request = self.proxy.request("autoscaling", "2011-01-01", &all);
        let form = http::parse_form(&request.body);
        let answer = self.proxy.answer(&request, action, &form).await.expect("moto answers");
        assert_eq!(answer.status, 200, "{action} {parameters:?}: {}", answer.body);
        Element::parse(&answer.body).unwrap_or_else(|| panic!("{action}: {}", answer.body))
    }

    /// Gives a group a termination hook that waits so long.
    ///
    /// # Panics
    /// When there is no such group.
    pub async fn hook(&self, group: &str, name: &str, heartbeat: Duration) {
        let parameters = [
            ("AutoScalingGroupName", group),
            ("LifecycleHookName", name),
            ("LifecycleTransition", "autoscaling:EC2_INSTANCE_TERMINATING"),
            ("HeartbeatTimeout", &heartbeat.as_secs().to_string()),
        ];
        self.call("PutLifecycleHook", &parameters).await;
    }

    /// Suspends a process of a group.
    ///
    /// # Panics
    /// When there is no such group.
    pub async fn suspend(&self, group: &str, process: &str) {
        let parameters = [("AutoScalingGroupName", group), ("ScalingProcesses.member.1", process)];
        self.call("SuspendProcesses", &parameters).await;
    }

    /// The instances of a group and their states, as AWS lists them now, and the desired capacity.
    ///
    /// # Panics
    /// When there is no such group.
    pub async fn look(&self, group: &str) -> (u32, Vec<(String, String)>) {
        let answer = self.call("DescribeAutoScalingGroups", &[("AutoScalingGroupNames.member.1", group)]).await;
        let found = answer.at("DescribeAutoScalingGroupsResult/AutoScalingGroups/member").expect("the group is there");
        let instances = found.at("Instances").into_iter().flat_map(|instances| &instances.children);
        let text = |one: &Element, name: &str| one.text_at(name).to_owned();
        let instances = instances.map(|one| (text(one, "InstanceId"), text(one, "LifecycleState")));
        (found.number_at("DesiredCapacity"), instances.collect())
    }

    /// The same calls as [`look`](Self::look), for the names alone.
    ///
    /// # Panics
    /// When there is no such group.
    pub async fn ids(&self, group: &str) -> Vec<String> {
        self.look(group).await.1.into_iter().map(|(id, _)| id).collect()
    }

    /// When instances that are launched from now on have booted. Default [`Boot::AtOnce`].
    pub fn boots(&self, boot: Boot) {
        self.proxy.lock().boot = boot;
    }

    /// An answer about several groups holds so many at most, whatever is asked for.
    pub fn pages(&self, groups: u32) {
        self.proxy.lock().page = Some(groups);
    }

    /// This instance has booted.
    pub fn boot(&self, instance: &str) {
        self.proxy.boots(instance);
    }

    /// Launches of this group fail from now on, for this reason; with none, those that failed and all to come succeed.
    ///
    /// # Panics
    /// When there is no such group.
    pub async fn launches_fail(&self, group: &str, why: Option<&str>) {
        {
            let mut state = self.proxy.lock();
            match why {
                Some(why) => drop(state.failing.insert(group.to_owned(), why.to_owned())),
                None => drop(state.failing.remove(group)),
            }
        }
        self.look(group).await;
    }

    /// Starts such a program, which may depend on the instance's name, on each instance that boots from now on. It finds
    /// the metadata service at `AWS_EC2_METADATA_SERVICE_ENDPOINT`, and there its name, as on EC2.
    pub fn workers(&self, worker: impl Fn(&str) -> Program + Send + Sync + 'static) {
        self.proxy.lock().worker = Some(Arc::new(worker));
    }

    /// How long a worker has between the TERM and the KILL of its machine that goes down. Default 30 s.
    pub fn grace(&self, grace: Duration) {
        self.proxy.lock().grace = grace;
    }

    /// How workers have ended, in their order.
    pub fn ends(&self) -> Vec<WorkerEnd> {
        self.proxy.lock().ends.clone()
    }

    /// Where the metadata of an instance are; none before it has booted.
    pub fn metadata(&self, instance: &str) -> Option<String> {
        let state = self.proxy.lock();
        Some(state.machines.get(instance)?.body.as_ref()?.metadata.endpoint.clone())
    }

    /// A Spot instance is told that it will be taken back so soon. That it then goes is the test's to do.
    ///
    /// # Panics
    /// When it is not there.
    pub fn take_back(&self, instance: &str, within: Duration) {
        let state = self.proxy.lock();
        let body = state.machines.get(instance).and_then(|machine| machine.body.as_ref()).expect("it has booted");
        let time = (imds::now() + within).to_rfc3339_opts(SecondsFormat::Secs, true);
        body.metadata.set(imds::SPOT_ACTION, &format!(r#"{{"action":"terminate","time":"{time}"}}"#));
    }

    /// Has the next calls of this kind go wrong, one after the other.
    pub fn faults(&self, action: &str, faults: impl IntoIterator<Item = Fault>) {
        self.proxy.lock().faults.add(action, faults);
    }

    /// The calls of this kind that have come, in their order.
    pub fn calls(&self, action: &str) -> Vec<Call> {
        self.proxy.lock().calls.iter().filter(|call| call.action == action).cloned().collect()
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.proxy.stop();
    }
}
