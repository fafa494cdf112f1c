//! A run that is interrupted, in whatever way, and resumed.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use headcount_tests::{Folder, Signal, eventually};

const SOON: Duration = Duration::from_secs(90);

/// Notes each start of a line in a file of the line's name, waits for the gate to be there, then notes its end.
const SCRIPT: &str = "echo start >> $1; while [ ! -e $2 ]; do sleep 0.05; done; echo end >> $1; basename $1";

/// How often each line started and ended.
fn marks(folder: &Path) -> BTreeMap<String, (usize, usize)> {
    let count = |text: &str, word| text.lines().filter(|line| *line == word).count();
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), (count(&text, "start"), count(&text, "end")))
        })
        .collect()
}

pub(crate) struct Scene {
    pub(crate) folder: Folder,
    gate: std::path::PathBuf,
    marks: std::path::PathBuf,
    lines: usize,
    url: Vec<String>,
}

impl Scene {
    pub(crate) fn new(lines: usize) -> Self {
        let folder = Folder::new();
        let marks = folder.file("marks");
        fs::create_dir(&marks).unwrap();
        Self { gate: folder.file("gate"), marks, folder, lines, url: Vec::new() }
    }

    /// The same with the lines kept in this store.
    pub(crate) fn elsewhere(lines: usize, url: &str) -> Self {
        Self { url: vec!["--url".to_owned(), url.to_owned()], ..Self::new(lines) }
    }

    pub(crate) fn input(&self) -> String {
        let lines: Vec<String> =
            (0..self.lines).map(|i| self.marks.join(i.to_string()).display().to_string()).collect();
        lines.join("\n")
    }

    pub(crate) fn args(&self) -> Vec<String> {
        let gate = self.gate.to_str().unwrap();
        let run = ["run", "--name", "x", "--max", "2", "--grace", "1s", "--", "sh", "-c", SCRIPT, "sh", "{}", gate];
        [&self.url, run.map(str::to_owned).as_slice()].concat()
    }

    /// Waits until two lines run.
    pub(crate) async fn two_run(&self) {
        eventually("two lines run", SOON, async || {
            let started = marks(&self.marks).len();
            if started >= 2 { Ok(()) } else { Err(started) }
        })
        .await;
    }

    pub(crate) fn open_the_gate(&self) {
        fs::write(&self.gate, "").unwrap();
    }

    /// Resumes the run and checks that every line has ended, and that none but those in flight started twice.
    pub(crate) async fn resume_finishes_what_was_left(&self, printed_before: &str, in_flight: usize) {
        self.open_the_gate();
        let resume = [&self.url, ["run", "--resume", "x"].map(str::to_owned).as_slice()].concat();
        let ended = self.folder.headcount(resume).start().ends(SOON).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr());
        let marks = marks(&self.marks);
        assert_eq!(marks.len(), self.lines);
        for (line, (started, finished)) in &marks {
            assert!(*finished >= 1, "line {line} never ended");
            assert!(*started <= 2, "line {line} started {started} times");
        }
        let twice = marks.values().filter(|(started, _)| *started > 1).count();
        assert!(twice <= in_flight, "{twice} lines started twice, {in_flight} were in flight");
        // What was printed is whole too: every line's name, once.
        let printed = format!("{printed_before}{}", ended.stdout());
        let mut names: Vec<usize> = printed.lines().map(|line| line.parse().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, (0..self.lines).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_interrupted_run_gives_back_what_runs_and_says_how_to_go_on() {
    let scene = Scene::new(8);
    let mut run = scene.folder.headcount(scene.args()).stdin(scene.input()).start();
    scene.two_run().await;
    assert!(run.signal(Signal::INT));
    let ended = run.ends(SOON).await;
    assert_eq!(ended.code(), Some(130), "{}", ended.stderr());
    assert!(ended.stderr().contains("headcount run --resume x"), "{}", ended.stderr());
    assert!(run.tree().is_empty(), "left running: {:?}", run.tree());
    scene.resume_finishes_what_was_left(&ended.stdout(), 2).await;
}

#[tokio::test]
async fn a_run_cannot_be_resumed_while_it_is_under_way() {
    let scene = Scene::new(2);
    let mut run = scene.folder.headcount(scene.args()).stdin(scene.input()).start();
    scene.two_run().await;
    let second = scene.folder.headcount(["run", "--resume", "x"]).start().ends(SOON).await;
    assert_eq!(second.code(), Some(78), "{}", second.stderr());
    scene.open_the_gate();
    assert_eq!(run.ends(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn an_input_that_was_cut_off_is_told_and_read_again_from_where_it_was() {
    let scene = Scene::new(4);
    // The input never ends: a pipe whose writer waits.
    let feed = "cat; sleep 1000";
    let script = format!("({feed}) | exec \"$@\"");
    let run = [headcount_tests::headcount().to_str().unwrap(), "run", "--name", "x", "--max", "2", "--", "echo", "got"];
    let args = [&["-c", &script, "sh"], run.as_slice()].concat();
    let pipe = scene.folder.program("sh", args).stdin("a\nb\nc\n").start();
    for name in ["a", "b", "c"] {
        pipe.line("its output", SOON, |line| line == format!("got {name}")).await;
    }
    pipe.kill_tree();
    let cut = scene.folder.headcount(["run", "--resume", "x"]).start().ends(SOON).await;
    assert_eq!(cut.code(), Some(1), "{}", cut.stderr());
    assert!(cut.stderr().contains("cut off after 3 lines"), "{}", cut.stderr());
    let rest = ["run", "--resume", "x", "--input"];
    let ended = scene.folder.headcount(rest).stdin("a\nb\nc\nd\n").start().ends(SOON).await;
    assert_eq!((ended.code(), ended.stdout().as_str()), (Some(0), "got d\n"), "{}", ended.stderr());
}
