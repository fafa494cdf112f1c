//! What stands between a driver and moto: the rules of AWS that moto forgets.
//!
//! moto keeps the groups and speaks the protocol. It starts instances at once, whatever the bounds, and ends them as
//! fast. The proxy lists them as AWS would: pending until they have booted, missing while their launches fail, waiting
//! in their termination hook until that is completed or runs out; and it refuses what AWS refuses.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::TcpStream, task::JoinSet};

use super::{
    Boot, Call,
    faults::{Fault, Faults, invalid, refusal},
    http::{self, Answer, Request, parse_form},
    imds::TARGET_STATE,
    machine::{Body, Machine, Stage, WorkerEnd},
    xml::Element,
};
use crate::process::Program;

const VERSION: &str = "2011-01-01";
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";

/// Makes the worker of an instance of this name.
pub(super) type Worker = Arc<dyn Fn(&str) -> Program + Send + Sync>;

pub(super) struct Proxy {
    /// Host and port.
    pub(super) moto: String,
    pub(super) region: String,
    pub(super) state: Mutex<State>,
    /// One call at a time, as if AWS were quick.
    turn: tokio::sync::Mutex<()>,
    /// What waits and what runs on its own.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) machines: BTreeMap<String, Machine>,
    pub(super) faults: Faults,
    pub(super) calls: Vec<Call>,
    pub(super) ends: Vec<WorkerEnd>,
    pub(super) boot: Boot,
    pub(super) worker: Option<Worker>,
    pub(super) grace: Duration,
    /// How many groups an answer holds at most, whatever is asked for.
    pub(super) page: Option<u32>,
    /// Why the launches of a group fail.
    pub(super) failing: HashMap<String, String>,
    activities: HashMap<String, Vec<Element>>,
    waits: u64,
}

type Form = Vec<(String, String)>;

fn get<'f>(form: &'f Form, name: &str) -> &'f str {
    form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

impl Proxy {
    pub(super) fn new(moto: String, region: String) -> Self {
        let state = State { grace: Duration::from_secs(30), ..State::default() };
        Self { moto, region, state: Mutex::new(state), turn: tokio::sync::Mutex::default(), tasks: Mutex::default() }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    /// Ends all that runs here.
    pub(super) fn stop(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection, which is one call.
    pub(super) async fn serve(self: Arc<Self>, mut stream: TcpStream) -> io::Result<()> {
        let Some(request) = Request::read(&mut stream).await? else { return Ok(()) };
        let form = parse_form(&request.body);
        let action = get(&form, "Action").to_owned();
        let fault = {
            let mut state = self.lock();
            state.calls.push(Call { action: action.clone(), parameters: form.clone() });
            state.faults.next(&action)
        };
        let reset = |stream: &TcpStream| stream.set_zero_linger();
        let answer = match fault {
            None => self.answer(&request, &action, &form).await?,
            Some(Fault::Slow(wait)) => {
                tokio::time::sleep(wait).await;
                self.answer(&request, &action, &form).await?
            }
            Some(Fault::Silence) => {
                // Until the other side has had enough.
                let _ = Request::read(&mut stream).await;
                return Ok(());
            }
            Some(Fault::Reset) => return reset(&stream),
            Some(Fault::DoneThenReset) => {
                self.answer(&request, &action, &form).await?;
                return reset(&stream);
            }
            Some(Fault::DoneThenFailed) => {
                self.answer(&request, &action, &form).await?;
                refusal(500, "InternalFailure", "The request processing has failed")
            }
            Some(Fault::Failed) => Answer::new(500, "<html><body>Internal Server Error</body></html>"),
            Some(Fault::Malformed) => Answer::new(200, format!("<{action}Response><")),
            Some(Fault::Code(status, code, message)) => refusal(status, code, message),
        };
        answer.write(&mut stream).await
    }

    /// What AWS would answer.
    pub(super) async fn answer(self: &Arc<Self>, request: &Request, action: &str, form: &Form) -> io::Result<Answer> {
        let _turn = self.turn.lock().await;
        if get(form, "Version") != VERSION {
            return request.send(&self.moto).await;
        }
        let instance = get(form, "InstanceId");
        let mut group = get(form, "AutoScalingGroupName").to_owned();
        match action {
            "DescribeAutoScalingGroups" => {
                let page = self.lock().page.map(|page| page.to_string());
                let mut request = request.clone();
                if let Some(page) = &page {
                    let others = form.iter().filter(|(name, _)| name != "MaxRecords");
                    let others = others.map(|(name, value)| (name.as_str(), value.as_str()));
                    request.body = http::form(&others.chain([("MaxRecords", page.as_str())]).collect::<Vec<_>>());
                }
                let answer = request.send(&self.moto).await?;
                return self.describe(answer).await;
            }
            "TerminateInstanceInAutoScalingGroup" => match self.group_of(instance) {
                Some(its) => group = its,
                None => {
                    return Ok(invalid(&format!(
                        "Instance Id not found - No managed instance found for instance ID: {instance}"
                    )));
                }
            },
            _ => {}
        }
        if !group.is_empty() && !action.starts_with("Create") {
            let Some(before) = self.refresh(&group).await? else {
                return Ok(invalid(&format!("AutoScalingGroup name not found - null: {group}")));
            };
            if let Some(refused) = self.refuses(action, form, &before) {
                return Ok(refused);
            }
        }
        let answer = match action {
            "CompleteLifecycleAction" | "RecordLifecycleActionHeartbeat" => {
                let result = Element::with(&format!("{action}Result"), []);
                Answer::new(200, Element::with(&format!("{action}Response"), [result]).to_string())
            }
            _ => request.send(&self.moto).await?,
        };
        match action {
            "CompleteLifecycleAction" => self.proceed(instance, None),
            "RecordLifecycleActionHeartbeat" => {
                if let Some(patience) = self.patience(&group).await? {
                    self.waits(instance, patience);
                }
            }
            "DescribeScalingActivities" => return Ok(self.with_activities(answer, &group)),
            _ if !group.is_empty() => drop(self.refresh(&group).await?),
            _ => {}
        }
        Ok(answer)
    }

    /// What AWS would refuse and moto would not.
    fn refuses(&self, action: &str, form: &Form, group: &Element) -> Option<Answer> {
        let (min, max, desired) =
            (group.number_at("MinSize"), group.number_at("MaxSize"), group.number_at("DesiredCapacity"));
        match action {
            "SetDesiredCapacity" => {
                let wanted: i64 = get(form, "DesiredCapacity").parse().unwrap_or(-1);
                let (bound, word) = match wanted {
                    above if above > i64::from(max) => (max, "above max"),
                    below if below < i64::from(min) => (min, "below min"),
                    _ => return None,
                };
                Some(invalid(&format!(
                    "New SetDesiredCapacity value {wanted} is {word} value {bound} for the AutoScalingGroup."
                )))
            }
            "TerminateInstanceInAutoScalingGroup"
                if get(form, "ShouldDecrementDesiredCapacity") == "true" && desired <= min =>
            {
                Some(invalid(&format!(
                    "Currently, desiredSize equals minSize ({min}). Terminating instance without replacement will \
                     violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or \
                     lower group's min size."
                )))
            }
            "CompleteLifecycleAction" | "RecordLifecycleActionHeartbeat" => {
                let instance = get(form, "InstanceId");
                let waits = self.lock().machines.get(instance).is_some_and(|m| matches!(m.stage, Stage::Waiting(_)));
                let message = format!("No active Lifecycle Action found with instance ID {instance}");
                (!waits).then(|| invalid(&message))
            }
            _ => None,
        }
    }

    fn group_of(&self, instance: &str) -> Option<String> {
        let state = self.lock();
        state.machines.get(instance).filter(|machine| !machine.stage.is_ending()).map(|machine| machine.group.clone())
    }

    /// A group as moto has it now; takes note of what has come and gone. None if there is no such group.
    pub(super) async fn refresh(self: &Arc<Self>, group: &str) -> io::Result<Option<Element>> {
        let parameters = [("Action", "DescribeAutoScalingGroups"), ("AutoScalingGroupNames.member.1", group)];
        let answer = self.ask(&parameters).await?;
        let groups = answer.at("DescribeAutoScalingGroupsResult/AutoScalingGroups");
        let Some(mut found) = groups.and_then(|groups| groups.child("member")).cloned() else {
            let ids: Vec<String> = {
                let state = self.lock();
                let its = state.machines.iter().filter(|(_, machine)| machine.group == group);
                its.map(|(id, _)| id.clone()).collect()
            };
            for id in &ids {
                self.proceed(id, None);
            }
            return Ok(None);
        };
        let before = found.clone();
        self.overlay(&mut found).await?;
        Ok(Some(before))
    }

    /// Asks moto.
    pub(super) async fn ask(&self, parameters: &[(&str, &str)]) -> io::Result<Element> {
        let answer = self.request("autoscaling", VERSION, parameters).send(&self.moto).await?;
        Element::parse(&answer.body).ok_or_else(|| io::Error::other(answer.body))
    }

    /// A call as a client would make it.
    pub(super) fn request(&self, service: &str, version: &str, parameters: &[(&str, &str)]) -> Request {
        let mut all = vec![("Version", version)];
        all.extend(parameters);
        // moto looks at the scope and not at the signature.
        let scope = format!("AWS4-HMAC-SHA256 Credential=TEST/20260101/{}/{service}/aws4_request", self.region);
        let headers = [
            ("host", self.moto.as_str()),
            ("authorization", &format!("{scope}, SignedHeaders=host, Signature=0")),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Request { method: "POST".into(), path: "/".into(), headers, body: http::form(&all) }
    }

    /// Lists every group of the answer as AWS would.
    async fn describe(self: &Arc<Self>, answer: Answer) -> io::Result<Answer> {
        let Some(mut root) = Element::parse(&answer.body) else { return Ok(answer) };
        let groups = root.at_mut("DescribeAutoScalingGroupsResult/AutoScalingGroups");
        for group in groups.into_iter().flat_map(|groups| &mut groups.children) {
            self.overlay(group).await?;
        }
        Ok(Answer::new(answer.status, root.to_string()))
    }

    /// Takes note of the instances that moto lists in a group, and lists them as AWS would.
    async fn overlay(self: &Arc<Self>, group: &mut Element) -> io::Result<()> {
        let name = group.text_at("AutoScalingGroupName").to_owned();
        let weights: HashMap<String, String> = group
            .at("MixedInstancesPolicy/LaunchTemplate/Overrides")
            .into_iter()
            .flat_map(|overrides| &overrides.children)
            .map(|one| (one.text_at("InstanceType").to_owned(), one.text_at("WeightedCapacity").to_owned()))
            .filter(|(_, weight)| !weight.is_empty())
            .collect();
        let suspended = group.at("SuspendedProcesses").is_some_and(|processes| {
            processes.children.iter().any(|process| process.text_at("ProcessName") == "Launch")
        });
        let instances = group.at_mut("Instances").map(|instances| std::mem::take(&mut instances.children));
        let mut present = Vec::new();
        for mut listed in instances.unwrap_or_default() {
            let id = listed.text_at("InstanceId").to_owned();
            if let Some(weight) = weights.get(listed.text_at("InstanceType")) {
                listed.set("WeightedCapacity", weight);
            }
            self.appears(&name, &id, listed, suspended);
            present.push(id);
        }
        let gone: Vec<String> = {
            let state = self.lock();
            let its = state.machines.iter().filter(|(_, machine)| machine.group == name && !machine.stage.is_ending());
            its.map(|(id, _)| id.clone()).filter(|id| !present.contains(id)).collect()
        };
        if !gone.is_empty() {
            let patience = self.patience(&name).await?;
            for id in &gone {
                self.ends(id, patience);
            }
        }
        let state = self.lock();
        let its = state.machines.values().filter(|machine| machine.group == name);
        let listed = its.filter_map(|machine| {
            let mut listed = machine.listed.clone();
            let shown = machine.stage.state()?;
            // What moto knows better: an instance in Standby.
            if shown != "InService" {
                listed.set("LifecycleState", shown);
            }
            Some(listed)
        });
        if let Some(instances) = group.at_mut("Instances") {
            instances.children = listed.collect();
        }
        Ok(())
    }

    /// moto lists this instance.
    fn appears(self: &Arc<Self>, group: &str, id: &str, listed: Element, suspended: bool) {
        let boot = {
            let mut state = self.lock();
            let failing = state.failing.get(group).cloned();
            let launched = !suspended && failing.is_none();
            let known = state.machines.contains_key(id);
            let machine = state.machines.entry(id.to_owned()).or_insert_with(|| Machine {
                group: group.to_owned(),
                stage: Stage::Withheld,
                listed: Element::default(),
                body: None,
            });
            machine.listed = listed;
            if machine.stage != Stage::Withheld {
                return;
            }
            if let (Some(why), false) = (&failing, known) {
                state.note(group, "Failed", Some(why));
            }
            if !launched {
                return;
            }
            state.note(group, "Successful", None);
            if let Some(machine) = state.machines.get_mut(id) {
                machine.stage = Stage::Pending;
            }
            state.boot
        };
        match boot {
            Boot::AtOnce => self.boots(id),
            Boot::Held => {}
            Boot::After(wait) => {
                let (proxy, id) = (Arc::clone(self), id.to_owned());
                self.spawn(async move {
                    tokio::time::sleep(wait).await;
                    proxy.boots(&id);
                });
            }
        }
    }

    /// An instance has booted: its worker starts.
    pub(super) fn boots(self: &Arc<Self>, id: &str) {
        let mut state = self.lock();
        let (worker, grace) = (state.worker.clone(), state.grace);
        let Some(machine) = state.machines.get_mut(id).filter(|machine| machine.stage == Stage::Pending) else {
            return;
        };
        machine.stage = Stage::InService;
        let (body, life) = Body::boot(id, &self.region, worker.map(|worker| worker(id)), grace);
        machine.body = Some(body);
        let (proxy, id) = (Arc::clone(self), id.to_owned());
        self.spawn(async move {
            let end = life.await;
            let mut state = proxy.lock();
            state.ends.extend(end);
            // One whose worker ended by itself stays, without it.
            if state.machines.get(&id).is_some_and(|machine| machine.stage == Stage::Ending) {
                state.machines.remove(&id);
            }
        });
    }

    /// How long a group's termination hooks hold an instance, if it has any.
    async fn patience(&self, group: &str) -> io::Result<Option<Duration>> {
        let answer = self.ask(&[("Action", "DescribeLifecycleHooks"), ("AutoScalingGroupName", group)]).await?;
        let hooks = answer.at("DescribeLifecycleHooksResult/LifecycleHooks");
        let hooks = hooks.into_iter().flat_map(|hooks| &hooks.children);
        let holding = hooks.filter(|hook| hook.text_at("LifecycleTransition") == TERMINATING);
        Ok(holding.map(|hook| Duration::from_secs(hook.number_at("HeartbeatTimeout").into())).max())
    }

    /// An instance is terminated: it waits in the hook if there is one, and goes down.
    fn ends(self: &Arc<Self>, id: &str, patience: Option<Duration>) {
        let mut state = self.lock();
        state.waits += 1;
        let wait = state.waits;
        let Some(machine) = state.machines.get_mut(id) else { return };
        let held = patience.filter(|_| machine.stage == Stage::InService);
        machine.stage = Stage::Waiting(wait);
        if let Some(body) = &machine.body {
            body.metadata.set(TARGET_STATE, "Terminated");
        }
        drop(state);
        match held {
            None => self.proceed(id, Some(wait)),
            Some(patience) => self.waits(id, patience),
        }
    }

    /// An instance waits in its hook for so long from now.
    fn waits(self: &Arc<Self>, id: &str, patience: Duration) {
        let mut state = self.lock();
        state.waits += 1;
        let wait = state.waits;
        let Some(machine) = state.machines.get_mut(id) else { return };
        machine.stage = Stage::Waiting(wait);
        drop(state);
        let (proxy, id) = (Arc::clone(self), id.to_owned());
        self.spawn(async move {
            tokio::time::sleep(patience).await;
            proxy.proceed(&id, Some(wait));
        });
    }

    /// An instance goes down; where a wait is named, only if it is still in that one.
    fn proceed(&self, id: &str, wait: Option<u64>) {
        let mut state = self.lock();
        let Some(machine) = state.machines.get_mut(id) else { return };
        if wait.is_some_and(|wait| machine.stage != Stage::Waiting(wait)) || machine.stage == Stage::Ending {
            return;
        }
        machine.stage = Stage::Ending;
        match &machine.body {
            Some(body) if !body.is_over() => body.end(),
            _ => drop(state.machines.remove(id)),
        }
    }

    fn with_activities(&self, answer: Answer, group: &str) -> Answer {
        let Some(mut root) = Element::parse(&answer.body) else { return answer };
        if let Some(activities) = root.at_mut("DescribeScalingActivitiesResult/Activities") {
            let noted = self.lock().activities.get(group).cloned().unwrap_or_default();
            activities.children.splice(..0, noted.into_iter().rev());
        }
        Answer::new(answer.status, root.to_string())
    }
}

impl State {
    /// Notes a launch in the history of a group.
    fn note(&mut self, group: &str, status: &str, why: Option<&str>) {
        let activities = self.activities.entry(group.to_owned()).or_default();
        let number = activities.len().to_string();
        let mut activity: Vec<(&str, &str)> = vec![
            ("ActivityId", &number),
            ("AutoScalingGroupName", group),
            ("Description", "Launching a new EC2 instance"),
            ("Cause", "At 2026-01-01T00:00:00Z an instance was started in response to a user request"),
            ("StartTime", "2026-01-01T00:00:00Z"),
            ("StatusCode", status),
        ];
        activity.extend(why.map(|why| ("StatusMessage", why)));
        let activity = activity.into_iter().map(|(name, text)| Element::with_text(name, text));
        activities.push(Element::with("member", activity));
    }
}
