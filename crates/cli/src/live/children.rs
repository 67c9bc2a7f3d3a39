//! The processes that `live` starts, and never leaves behind.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::error::Error;

/// Longest time in which a child must exit by itself after the run.
const GRACE: Duration = Duration::from_secs(3);

/// Command line and name of a child process.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    /// For people.
    pub(crate) name: String,
    /// Its command line, without the program.
    pub(crate) args: Vec<String>,
}

/// Child processes. Each has a pipe for its input that this process holds open: when this process ends, however it
/// ends, the pipe closes, and the child goes too.
#[derive(Debug, Default)]
pub(crate) struct Children(Vec<(String, Child, Option<ExitStatus>)>);

impl Children {
    /// Starts them all, in process groups of their own: Ctrl-C is for this process, which ends the run in order.
    pub(crate) fn start(roles: &[Role], cluster: &str) -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(|error| Error::Live(format!("cannot find itself: {error}")))?;
        let mut children = Children::default();
        for Role { name, args } in roles {
            let mut command = Command::new(&program);
            // Environment variables for manually started processes must not reach these.
            let ours = std::env::vars_os().map(|(name, _)| name);
            ours.filter(|name| name.as_encoded_bytes().starts_with(b"MESHSIM_")).for_each(|name| {
                command.env_remove(name);
            });
            command.args(args).env("MESHSIM_CLUSTER", cluster).stdin(Stdio::piped()).stdout(Stdio::null());
            #[cfg(unix)]
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            let child = command.spawn().map_err(|error| Error::Live(format!("cannot start {name}: {error}")))?;
            children.0.push((name.clone(), child, None));
        }
        Ok(children)
    }

    /// Those that have ended since the last look, with how.
    pub(crate) fn ended(&mut self) -> Vec<(String, u32, ExitStatus)> {
        let mut ended = Vec::new();
        for (name, child, status) in self.0.iter_mut().filter(|(.., status)| status.is_none()) {
            if let Ok(Some(how)) = child.try_wait() {
                *status = Some(how);
                ended.push((name.clone(), child.id(), how));
            }
        }
        ended
    }

    /// Lets them go by themselves, and ends those that do not.
    pub(crate) fn finish(mut self) {
        let step = Duration::from_millis(10);
        let mut waited = Duration::ZERO;
        // Without their input they go.
        self.0.iter_mut().for_each(|(_, child, _)| drop(child.stdin.take()));
        while waited < GRACE && self.0.iter_mut().any(|(_, child, _)| matches!(child.try_wait(), Ok(None))) {
            #[expect(clippy::disallowed_methods, reason = "the run is over: no actor waits")]
            std::thread::sleep(step);
            waited += step;
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for (name, child, _) in &mut self.0 {
            if matches!(child.try_wait(), Ok(None)) {
                tracing::debug!("{name} is ended");
                let _: io::Result<()> = child.kill();
            }
            let _ = child.wait();
        }
    }
}
