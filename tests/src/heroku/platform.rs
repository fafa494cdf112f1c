//! What Heroku keeps: the formation, and a process per dyno.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{sync::watch, task::JoinSet};

use super::{
    Builder, EndedDyno, ListedDyno, Request,
    dyno::{self, Dyno, End, How, Running, State},
    fault::{Call, Fault},
};
use crate::{
    Folder,
    process::{Process, Program},
};

/// The platform behind the API.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) settings: Builder,
    folder: Folder,
    kept: Mutex<Kept>,
    lives: Mutex<JoinSet<()>>,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) formation: BTreeMap<String, Entry>,
    /// Those that are and those that still end.
    pub(super) dynos: Vec<Dyno>,
    pub(super) ended: Vec<EndedDyno>,
    crashes: BTreeMap<String, u32>,
    pub(super) release: u64,
    made: u64,
    closed: bool,
    pub(super) tokens: u32,
    pub(super) requests: Vec<Request>,
    pub(super) faults: VecDeque<(Call, Fault)>,
    pub(super) violations: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) quantity: u32,
    pub(super) updated_at: DateTime<Utc>,
}

/// Why a change of the formation is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    NoSuchType,
    AboveLimit(u32),
}

impl Platform {
    pub(super) fn new(settings: Builder) -> Arc<Self> {
        let entry = Entry { quantity: 0, updated_at: settings.now() };
        let formation = settings.processes.keys().map(|name| (name.clone(), entry.clone())).collect();
        let kept = Kept { formation, release: 1, tokens: settings.tokens, ..Kept::default() };
        Arc::new(Self { settings, folder: Folder::new(), kept: Mutex::new(kept), lives: Mutex::default() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes quantities, all or none, as a batch update does.
    pub(super) fn scale(self: &Arc<Self>, updates: &[(String, u32)]) -> Result<(), Refused> {
        let mut kept = self.lock();
        for (process_type, quantity) in updates {
            let Some(process) = self.settings.processes.get(process_type) else { return Err(Refused::NoSuchType) };
            if let Some(most) = process.most.filter(|most| quantity > most) {
                return Err(Refused::AboveLimit(most));
            }
        }
        for (process_type, quantity) in updates {
            let entry = kept.formation.get_mut(process_type).expect("every process type has an entry");
            *entry = Entry { quantity: *quantity, updated_at: self.settings.now() };
            // The highest first, as Heroku does.
            let mut above: Vec<(u32, u64)> = kept.current(process_type).map(|dyno| (dyno.ordinal, dyno.id)).collect();
            above.retain(|(ordinal, _)| ordinal > quantity);
            above.sort_unstable();
            above.into_iter().rev().for_each(|(_, id)| kept.end(id, End::Asked));
            for ordinal in 1..=*quantity {
                if !kept.current(process_type).any(|dyno| dyno.ordinal == ordinal) {
                    self.launch(&mut kept, process_type, ordinal, None);
                }
            }
        }
        Ok(())
    }

    /// Ends the dyno of this name and puts another into its place: at once, or when it has ended.
    pub(super) fn replace(self: &Arc<Self>, name: &str, in_turn: bool) {
        let mut kept = self.lock();
        let Some(dyno) = kept.dynos.iter().find(|dyno| dyno.name == name && dyno.state != State::Ending) else {
            panic!("there is no dyno {name}")
        };
        let (id, process_type, ordinal) = (dyno.id, dyno.process_type.clone(), dyno.ordinal);
        let after = in_turn.then(|| dyno.over.subscribe());
        kept.end(id, End::Asked);
        self.launch(&mut kept, &process_type, ordinal, after);
    }

    /// Kills the process of the dyno of this name, as if it had crashed.
    pub(super) fn crash(&self, name: &str) {
        let kept = self.lock();
        let dyno = kept.dynos.iter().find(|dyno| dyno.name == name && dyno.state == State::Up);
        let dyno = dyno.unwrap_or_else(|| panic!("there is no dyno {name} that is up"));
        dyno.end.send_replace(Some(End::Crash));
    }

    /// A new release: every dyno is replaced, the old ones ending while the new ones start.
    pub(super) fn release(self: &Arc<Self>) -> u64 {
        let names: Vec<String> = {
            let mut kept = self.lock();
            kept.release += 1;
            kept.dynos.iter().filter(|dyno| dyno.state != State::Ending).map(|dyno| dyno.name.clone()).collect()
        };
        for name in names {
            self.replace(&name, false);
        }
        self.lock().release
    }

    fn launch(self: &Arc<Self>, kept: &mut Kept, process_type: &str, ordinal: u32, after: Option<watch::Receiver<()>>) {
        if kept.closed {
            return;
        }
        kept.made += 1;
        let name = format!("{process_type}.{ordinal}");
        let process = &self.settings.processes[process_type];
        let (command, arguments) = process.command.split_first().expect("a process type has a command");
        let mut program = self.folder.program(command, arguments);
        for (variable, value) in &self.settings.env {
            program = program.env(variable, value);
        }
        program = program.env("DYNO", &name);
        let (end, ending) = watch::channel(None);
        kept.dynos.push(Dyno {
            id: kept.made,
            process_type: process_type.to_owned(),
            ordinal,
            name,
            release: kept.release,
            created_at: self.settings.now(),
            state: State::Starting,
            process: None,
            end,
            over: watch::channel(()).0,
        });
        let life = dyno::live(self.clone(), kept.made, program, self.settings.boot, after, ending);
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).spawn(life);
    }

    /// Starts the process of a dyno, unless there is none to be any more.
    pub(super) fn start(&self, id: u64, program: Program) -> Option<Process> {
        let mut kept = self.lock();
        if kept.closed {
            return None;
        }
        let dyno = kept.dynos.iter_mut().find(|dyno| dyno.id == id)?;
        let process = program.start();
        dyno.process = Some(Running {
            pid: process.pid().expect("it has just been started"),
            tree: process.marked(),
            printing: process.printing(),
        });
        if dyno.state == State::Starting {
            dyno.state = State::Up;
        }
        Some(process)
    }

    pub(super) fn grace(&self) -> Duration {
        self.settings.grace
    }

    /// A dyno was told to end before it had a process.
    pub(super) fn vanished(&self, id: u64) {
        self.lock().dynos.retain(|dyno| dyno.id != id);
    }

    /// The process of a dyno has ended.
    pub(super) fn ended(self: &Arc<Self>, id: u64, how: How, took: Option<Duration>, left_behind: usize) {
        let mut kept = self.lock();
        let Some(at) = kept.dynos.iter().position(|dyno| dyno.id == id) else { return };
        let dyno = &mut kept.dynos[at];
        let told = dyno.state == State::Ending;
        let Some(Running { pid, printing, .. }) = dyno.process.take() else { return };
        dyno.state = State::Crashed;
        let (name, process_type, ordinal, release) =
            (dyno.name.clone(), dyno.process_type.clone(), dyno.ordinal, dyno.release);
        kept.ended.push(EndedDyno { name: name.clone(), pid, release, how, took, left_behind, printing });
        if told {
            kept.dynos.remove(at);
            return;
        }
        // Heroku starts a crashed dyno again at once, and if it crashes again it waits.
        let crashes = kept.crashes.entry(name).or_default();
        *crashes += 1;
        if *crashes == 1 {
            kept.dynos.remove(at);
            self.launch(&mut kept, &process_type, ordinal, None);
        }
    }

    /// Starts a crashed dyno again, as Heroku does in the end.
    pub(super) fn revive(self: &Arc<Self>, name: &str) {
        let mut kept = self.lock();
        let crashed = kept.dynos.iter().position(|dyno| dyno.name == name && dyno.state == State::Crashed);
        let dyno = crashed.map_or_else(|| panic!("{name} has not crashed"), |at| kept.dynos.remove(at));
        self.launch(&mut kept, &dyno.process_type, dyno.ordinal, None);
    }

    /// Ends everything, at once.
    pub(super) fn close(&self) {
        let trees: Vec<_> = {
            let mut kept = self.lock();
            kept.closed = true;
            kept.dynos.iter().filter_map(|dyno| dyno.process.as_ref()).map(|process| process.tree.clone()).collect()
        };
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        trees.iter().for_each(crate::process::Tree::kill);
    }

    pub(super) fn quantity(&self, process_type: &str) -> u32 {
        self.lock().formation.get(process_type).map_or(0, |entry| entry.quantity)
    }

    /// The dynos as they are, those that still end too.
    pub(super) fn listed(&self) -> Vec<ListedDyno> {
        let kept = self.lock();
        let listed = kept.dynos.iter().map(|dyno| ListedDyno {
            name: dyno.name.clone(),
            state: dyno.state,
            release: dyno.release,
            pid: dyno.process.as_ref().map(|process| process.pid),
            printed: dyno.process.as_ref().map(|process| process.printing.so_far()).unwrap_or_default(),
        });
        listed.collect()
    }
}

impl Kept {
    /// The dynos of a process type that are not ending.
    fn current<'k>(&'k self, process_type: &'k str) -> impl Iterator<Item = &'k Dyno> {
        self.dynos.iter().filter(move |dyno| dyno.process_type == process_type && dyno.state != State::Ending)
    }

    fn end(&mut self, id: u64, end: End) {
        // What has crashed has nothing left that could end.
        self.dynos.retain(|dyno| dyno.id != id || dyno.state != State::Crashed);
        for dyno in self.dynos.iter_mut().filter(|dyno| dyno.id == id) {
            dyno.state = State::Ending;
            dyno.end.send_replace(Some(end));
        }
    }
}
