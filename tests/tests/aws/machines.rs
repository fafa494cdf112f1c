//! The proxy itself: its instances have workers, and end them as EC2 does.

use headcount_tests::{Folder, eventually, moto::Boot};

use super::*;

/// A worker that ends at TERM with this status, or not at all.
fn workers(ground: &Ground, folder: &Folder, at_term: &'static str) {
    let path = folder.path().to_owned();
    let script = "echo $AWS_EC2_METADATA_SERVICE_ENDPOINT >$0; while :; do sleep 0.05; done";
    let script = format!("trap '{at_term}' TERM; {script}");
    let other = Folder::new();
    ground.aws.workers(move |id| other.program("sh", ["-c", &format!("cd {} && {script}", path.display()), id]));
}

async fn started(folder: &Folder, id: &str) -> String {
    eventually("its worker is up", SOON, async || {
        let text = std::fs::read_to_string(folder.file(id)).unwrap_or_default();
        if text.ends_with('\n') { Ok(text.trim().to_owned()) } else { Err(text) }
    })
    .await
}

#[tokio::test]
async fn an_instance_starts_its_worker_when_it_has_booted_and_ends_it_when_it_goes() {
    let (ground, folder) = (Ground::of(0, 4, 0).await, Folder::new());
    workers(&ground, &folder, "exit 7");
    ground.aws.boots(Boot::Held);
    ground.grow_to(1).await.unwrap();
    let id = ground.ids().await.remove(0);
    assert!(ground.aws.metadata(&id).is_none() && !folder.file(&id).exists());
    ground.aws.boot(&id);
    assert_eq!(Some(started(&folder, &id).await), ground.aws.metadata(&id));
    ground.status().await;
    ground.remove(&[&id]).await.unwrap();
    let ends = eventually("its worker ends", SOON, async || {
        let ends = ground.aws.ends();
        if ends.is_empty() { Err(()) } else { Ok(ends) }
    })
    .await;
    assert_eq!(
        (&*ends[0].instance, ends[0].asked, ends[0].killed, ends[0].status.code()),
        (&*id, true, false, Some(7))
    );
    assert_eq!(ground.ids().await, [""; 0]);
}

#[tokio::test]
async fn a_worker_that_ignores_the_end_is_killed() {
    let (ground, folder) = (Ground::of(0, 4, 0).await, Folder::new());
    workers(&ground, &folder, "");
    ground.aws.grace(S / 5);
    ground.grow_to(1).await.unwrap();
    let id = ground.ids().await.remove(0);
    started(&folder, &id).await;
    ground.status().await;
    ground.remove(&[&id]).await.unwrap();
    assert_eq!(up_and_ending(&ground.status().await), (0, 1), "it goes down");
    eventually("it is killed", SOON, async || match ground.aws.ends().first() {
        Some(end) if end.killed && end.asked => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(ground.ids().await, [""; 0]);
}

#[tokio::test]
async fn a_hook_that_nobody_completes_runs_out() {
    let ground = Ground::of(0, 4, 1).await;
    ground.aws.hook(&ground.group, "finish", S).await;
    let id = ground.ids().await.remove(0);
    let terminate = [("InstanceId", &*id), ("ShouldDecrementDesiredCapacity", "true")];
    ground.aws.call("TerminateInstanceInAutoScalingGroup", &terminate).await;
    assert_eq!(ground.aws.look(&ground.group).await.1, [(id, "Terminating:Wait".to_owned())]);
    eventually("it is gone", SOON, async || {
        let ids = ground.ids().await;
        if ids.is_empty() { Ok(()) } else { Err(ids) }
    })
    .await;
}

#[tokio::test]
async fn the_metadata_say_who_it_is_and_that_it_is_to_go_to_those_with_a_token() {
    let ground = Ground::of(0, 4, 1).await;
    ground.aws.hook(&ground.group, "finish", 600 * S).await;
    let (folder, id) = (Folder::new(), ground.ids().await.remove(0));
    let endpoint = ground.aws.metadata(&id).unwrap();
    let ask = async |path: &str, token: bool| {
        let script = r#"
import sys, urllib.request, urllib.error
base, path, token = sys.argv[1:]
def ask(method, path, headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(base + path, method=method, headers=headers)).read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code)
headers = {}
if token == "yes":
    got = ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    headers = {"X-aws-ec2-metadata-token": got}
print(ask("GET", "/latest/meta-data/" + path, headers))
"#;
        let token = if token { "yes" } else { "no" };
        let asked = folder.program("python3", ["-c", script, &endpoint, path, token]).start().ends_well(SOON).await;
        asked.stdout().trim().to_owned()
    };
    assert_eq!(ask("instance-id", false).await, "401");
    assert_eq!(ask("instance-id", true).await, id);
    assert_eq!(ask("autoscaling/target-lifecycle-state", true).await, "InService");
    assert_eq!(ask("spot/instance-action", true).await, "404");
    ground.aws.take_back(&id, 120 * S);
    assert!(ask("spot/instance-action", true).await.contains("terminate"));
    let terminate = [("InstanceId", &*id), ("ShouldDecrementDesiredCapacity", "true")];
    ground.aws.call("TerminateInstanceInAutoScalingGroup", &terminate).await;
    assert_eq!(ask("autoscaling/target-lifecycle-state", true).await, "Terminated");
}
