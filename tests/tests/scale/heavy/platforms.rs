//! The platforms on which a pool can live, as one scenario meets them: each starts the same worker, and misbehaves in
//! its own way when it is told to.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use headcount_tests::{
    Aws, FakeHeroku, Process,
    heroku::{Call, Fault, State},
    moto::{self, Boot},
    process::headcount,
};

use super::*;

/// How long a process that was told to end has, on each of them.
const GRACE: Duration = Duration::from_secs(5);
/// Keeps workers as a platform does: a process an instance, by the file of its number.
const KEEPER: &str = include_str!("keeper.py");

/// A platform.
pub(super) enum Platform {
    /// This machine.
    Local,
    /// Heroku.
    Heroku(FakeHeroku),
    /// A group of AWS.
    Aws(Aws, String),
    /// One that the command driver's programs keep.
    Command,
}

/// A pool `worker` on a platform.
pub(super) struct Ground {
    pub(super) place: Arc<Place>,
    platform: Platform,
    /// How often the platform itself has ended the work of an instance, by the instance's name.
    hits: BTreeMap<String, usize>,
    turn: usize,
}

impl Ground {
    pub(super) async fn local() -> Self {
        Self::on(Platform::Local, Place::postgres().await)
    }

    pub(super) async fn heroku() -> Self {
        Self::heroku_in(Place::postgres().await).await
    }

    /// The same with this store.
    pub(super) async fn heroku_in(place: Place) -> Self {
        let worker = worker(&place);
        let heroku = FakeHeroku::app("shop").process("worker", [worker]).grace(GRACE).start().await;
        Self::on(Platform::Heroku(heroku), place)
    }

    pub(super) async fn aws() -> Self {
        let (place, aws) = (Place::postgres().await, Aws::fresh().await);
        let (group, worker) = (aws.group(0..=8, 0).await, worker(&place));
        aws.hook(&group, "finish", Duration::from_mins(10)).await;
        aws.boots(Boot::After(Duration::from_millis(200)));
        aws.grace(GRACE);
        let ground = Self::on(Platform::Aws(aws, group), place);
        let place = Arc::clone(&ground.place);
        let Platform::Aws(aws, _) = &ground.platform else { unreachable!("it has just been made") };
        aws.workers(move |_| place.folder.program(&worker, [""; 0]));
        ground
    }

    pub(super) async fn command() -> Self {
        let place = Place::postgres().await;
        fs::create_dir(place.folder.file("instances")).unwrap();
        executable(&place, "keeper", KEEPER);
        Self::on(Platform::Command, place)
    }

    fn on(platform: Platform, place: Place) -> Self {
        worker(&place);
        Self { place: Arc::new(place), platform, hits: BTreeMap::new(), turn: 0 }
    }

    /// The Heroku that it is.
    pub(super) fn dynos(&self) -> &FakeHeroku {
        let Platform::Heroku(heroku) = &self.platform else { panic!("there are dynos on Heroku only") };
        heroku
    }

    /// A scaler of the pool that follows the load at once.
    pub(super) fn scaler(&self, max: u32) -> Process {
        self.scaler_with(max, "policy = \"linear\"\nremove_after = \"500ms\"")
    }

    /// A scaler of the pool with these settings of it.
    pub(super) fn scaler_with(&self, max: u32, settings: &str) -> Process {
        let place = &self.place;
        let worker = place.folder.file("worker").display().to_string();
        let (keeper, instances) = (place.folder.file("keeper"), place.folder.file("instances"));
        let keep = format!("\"{}\", \"{}\", \"{worker}\"", keeper.display(), instances.display());
        let driver = match &self.platform {
            Platform::Local => format!("local = {{ command = [\"{worker}\"], grace = \"5s\" }}"),
            Platform::Heroku(_) => "heroku = { app = \"shop\", process = \"worker\" }".into(),
            Platform::Aws(_, group) => format!("aws = {{ group = \"{group}\" }}"),
            Platform::Command => format!("command = {{ status = [{keep}], set = [{keep}], timeout = \"2s\" }}"),
        };
        let config = format!(
            "[pool.worker]\nqueues = [\"local\"]\nmax = {max}\ninterval = \"500ms\"\nidle_to_zero = \"1s\"\n{settings}\n\
             driver = {{ {driver} }}\n"
        );
        fs::write(place.folder.file("headcount.toml"), config).unwrap();
        let scaler = place.headcount("scale");
        let keys = match &self.platform {
            Platform::Heroku(heroku) => {
                vec![("HEROKU_API_URL", heroku.url()), ("HEROKU_API_KEY", heroku.token().to_owned())]
            }
            Platform::Aws(aws, _) => vec![
                ("AWS_ENDPOINT_URL", aws.endpoint().to_owned()),
                ("AWS_REGION", aws.region().to_owned()),
                ("AWS_ACCESS_KEY_ID", "TEST".into()),
                ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ],
            _ => Vec::new(),
        };
        keys.into_iter().fold(scaler, |scaler, (name, value)| scaler.env(name, value)).start()
    }

    /// How many instances there are, those that are ending too.
    pub(super) async fn size(&self) -> usize {
        match &self.platform {
            Platform::Local => self.place.rows("workers").await.len(),
            Platform::Heroku(heroku) => heroku.dynos().len(),
            Platform::Aws(aws, group) => aws.look(group).await.1.len(),
            Platform::Command => fs::read_dir(self.place.folder.file("instances")).unwrap().count(),
        }
    }

    /// Misbehaves, each time in another way. Says how.
    pub(super) async fn misbehave(&mut self) -> String {
        self.turn += 1;
        match &self.platform {
            Platform::Command if self.turn.is_multiple_of(2) => {
                fs::write(self.place.folder.file("late"), "").unwrap();
                "the next change is answered too late".into()
            }
            Platform::Local | Platform::Command => self.crash().await,
            Platform::Aws(aws, _) => {
                aws.faults(
                    "TerminateInstanceInAutoScalingGroup",
                    [moto::Fault::DoneThenReset, moto::Fault::CONTENTION, moto::Fault::THROTTLED],
                );
                aws.faults("SetDesiredCapacity", [moto::Fault::DoneThenFailed]);
                aws.faults("CompleteLifecycleAction", [moto::Fault::DoneThenReset]);
                "answers are lost".into()
            }
            Platform::Heroku(heroku) => {
                let up = heroku.dynos().into_iter().filter(|dyno| dyno.state == State::Up).map(|dyno| dyno.name);
                let up: Vec<String> = up.collect();
                // A name that has crashed once already would stay down.
                let fresh = up.iter().find(|name| !self.hits.contains_key(*name));
                match (self.turn % 4, up.first(), fresh) {
                    (1, Some(name), _) => {
                        heroku.cycle(name);
                        *self.hits.entry(name.clone()).or_default() += 1;
                        format!("{name} is cycled")
                    }
                    (2, _, Some(name)) => {
                        heroku.crash(name);
                        *self.hits.entry(name.clone()).or_default() += 1;
                        format!("{name} crashes")
                    }
                    (3, ..) => {
                        heroku.release();
                        for name in &up {
                            *self.hits.entry(name.clone()).or_default() += 1;
                        }
                        "there is a release".into()
                    }
                    _ => {
                        heroku.fail(Call::Update, Fault::Slow(Duration::from_secs(7)));
                        "the next change is answered too late".into()
                    }
                }
            }
        }
    }

    /// Kills a worker whose job has not been killed before: one that takes its worker along again and again is put aside.
    async fn crash(&mut self) -> String {
        let first = notes(&self.place).into_iter().filter_map(|job| job.strip_prefix("start ").map(str::to_owned));
        let first: Vec<String> = first.filter(|job| job.lines().count() == 1).collect();
        let workers = self.place.rows("workers").await;
        let at_first = |name: &str| first.iter().any(|place| place.trim() == name) && !self.hits.contains_key(name);
        let Some(worker) = workers.iter().find(|worker| worker["instance"].as_str().is_some_and(at_first)) else {
            return "nobody is there to crash".into();
        };
        let name = worker["instance"].as_str().expect("an instance has a name").to_owned();
        let pid = worker["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a process has a number");
        *self.hits.entry(name.clone()).or_default() += 1;
        let pid = rustix::process::Pid::from_raw(pid).expect("no process has the number zero");
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        format!("{name} crashes")
    }

    /// Where workers had to be killed although the platform did not misbehave there.
    pub(super) fn killed(&self) -> Vec<String> {
        let killed: Vec<String> = match &self.platform {
            Platform::Local => Vec::new(),
            Platform::Heroku(heroku) => heroku.killed().into_iter().map(|dyno| dyno.name).collect(),
            Platform::Aws(aws, _) => aws.ends().into_iter().filter(|end| end.killed).map(|end| end.instance).collect(),
            Platform::Command => fs::read_to_string(self.place.folder.file("killed"))
                .unwrap_or_default()
                .lines()
                .map(Into::into)
                .collect(),
        };
        killed.into_iter().filter(|name| !self.hits.contains_key(name)).collect()
    }

    /// How often it has ended the work of this instance by itself.
    pub(super) fn hits(&self, instance: &str) -> usize {
        self.hits.get(instance).copied().unwrap_or_default()
    }
}

/// The program that is the same on each: a worker whose job runs for so many seconds as its payload says, or until the
/// test says so, to all or to this instance, and notes where.
fn worker(place: &Place) -> PathBuf {
    let job = place.handler(
        "length=$(cat); trap '' TERM; echo start $WHERE >>$JOBS/job.$HEADCOUNT_JOB_ID; \
         if [ $length = '\"until\"' ]; then while [ ! -e $JOBS/go ] && [ ! -e $JOBS/go.$WHERE ]; do sleep 0.1; done; else sleep $length; fi; \
         echo end >>$JOBS/job.$HEADCOUNT_JOB_ID",
    );
    let script = format!(
        "#!/bin/sh\nexport WHERE=${{HEADCOUNT_INSTANCE:-${{DYNO:-$MACHINE}}}} JOBS='{}' HEADCOUNT_URL='{}' HEADCOUNT_POOL=worker\n\
         exec {} work --exec {job} --slots 1 --grace 4s\n",
        place.folder.path().display(),
        place.url,
        headcount().display(),
    );
    executable(place, "worker", &script)
}

fn executable(place: &Place, name: &str, script: &str) -> PathBuf {
    let path = place.folder.file(name);
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}
