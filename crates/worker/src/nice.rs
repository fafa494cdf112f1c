//! The niceness of the process.

use std::{fs, io};

use rustix::{
    io::Errno,
    process::{Pid, setpriority_process},
};

/// Makes the whole process so nice, or warns that it may not.
pub(crate) fn be_nice(niceness: i32) {
    if let Err(error) = of_every_thread(niceness) {
        tracing::warn!(niceness, %error, "the niceness could not be set: the worker goes on as it is");
    }
}

/// On Linux each thread has a niceness of its own, which those that it starts inherit: the runtime's are there already.
fn of_every_thread(niceness: i32) -> io::Result<()> {
    setpriority_process(None, niceness)?;
    // Elsewhere it is the process that is nice, and there is no such folder.
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Ok(()) };
    for thread in threads {
        let id = thread?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        match id.map(|id| setpriority_process(Some(id), niceness)) {
            // One that has just ended.
            None | Some(Ok(()) | Err(Errno::SRCH)) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(())
}
