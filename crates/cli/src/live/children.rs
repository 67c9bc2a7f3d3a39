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
pub(crate) struct Children {
    all: Vec<Process>,
    cluster: String,
}

/// A child, and how it is started.
#[derive(Debug)]
struct Process {
    role: Role,
    child: Child,
    status: Option<ExitStatus>,
    /// Number of times that it was started again.
    again: u32,
}

/// Most times that one child is started again: one that ends at once must not be started for ever.
const AGAIN_MAX: u32 = 100;

impl Children {
    /// Starts them all, in process groups of their own: Ctrl-C is for this process, which ends the run in order.
    pub(crate) fn start(roles: &[Role], cluster: &str) -> Result<Self, Error> {
        let mut children = Children { all: Vec::new(), cluster: cluster.to_owned() };
        for role in roles {
            let child = start(role, cluster)?;
            children.all.push(Process { role: role.clone(), child, status: None, again: 0 });
        }
        Ok(children)
    }

    /// Starts a child that has ended again. False if it cannot be.
    pub(crate) fn start_again(&mut self, pid: u32) -> bool {
        let Some(process) = self.all.iter_mut().find(|it| it.child.id() == pid && it.status.is_some()) else {
            return false;
        };
        if process.again == AGAIN_MAX {
            return false;
        }
        match start(&process.role, &self.cluster) {
            Ok(child) => {
                (process.child, process.status, process.again) = (child, None, process.again + 1);
                true
            }
            Err(error) => {
                tracing::warn!("{error}");
                false
            }
        }
    }

    /// Those that have ended since the last look, with how.
    pub(crate) fn ended(&mut self) -> Vec<(String, u32, ExitStatus)> {
        let mut ended = Vec::new();
        for process in self.all.iter_mut().filter(|it| it.status.is_none()) {
            if let Ok(Some(how)) = process.child.try_wait() {
                process.status = Some(how);
                ended.push((process.role.name.clone(), process.child.id(), how));
            }
        }
        ended
    }

    /// Lets them go by themselves, and ends those that do not.
    pub(crate) fn finish(mut self) {
        let step = Duration::from_millis(10);
        let mut waited = Duration::ZERO;
        // Without their input they go.
        self.all.iter_mut().for_each(|it| drop(it.child.stdin.take()));
        while waited < GRACE && self.all.iter_mut().any(|it| matches!(it.child.try_wait(), Ok(None))) {
            #[expect(clippy::disallowed_methods, reason = "the run is over: no actor waits")]
            std::thread::sleep(step);
            waited += step;
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for Process { role, child, .. } in &mut self.all {
            if matches!(child.try_wait(), Ok(None)) {
                tracing::debug!("{} is ended", role.name);
                let _: io::Result<()> = child.kill();
            }
            let _ = child.wait();
        }
    }
}

fn start(Role { name, args }: &Role, cluster: &str) -> Result<Child, Error> {
    let program = std::env::current_exe().map_err(|error| Error::Live(format!("cannot find itself: {error}")))?;
    let mut command = Command::new(&program);
    // Environment variables for manually started processes must not reach these.
    let ours = std::env::vars_os().map(|(name, _)| name);
    ours.filter(|name| name.as_encoded_bytes().starts_with(b"MESHSIM_")).for_each(|name| {
        command.env_remove(name);
    });
    command.args(args).env("MESHSIM_CLUSTER", cluster).stdin(Stdio::piped()).stdout(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|error| Error::Live(format!("cannot start {name}: {error}")))
}
