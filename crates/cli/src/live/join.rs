//! Joining a run: options and code that `node` and `client` share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meshsim_experiment::Experiment;
use meshsim_net::{Join, Leaving, MemberError};
use meshsim_run::{JoinError, Member};

use super::cluster::{ClusterArgs, SecretRole, cannot_listen, is_loopback};
use crate::error::{Error, Exit};
use crate::interrupt;

/// Default of the longest time for which the coordinator may be unreachable, in seconds.
const PATIENCE_SECS: u64 = 60;

/// Address that a process joins, and addresses at which peers reach it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct JoinArgs {
    /// Address of the coordinator
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7700", env = "MESHSIM_JOIN")]
    join: String,
    /// Address at which this process receives messages of others; port 0 takes a free port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0", env = "MESHSIM_LISTEN", value_parser = crate::address::address)]
    listen: SocketAddr,
    /// Address at which peers reach this process, if not the source address of the join with the port of `--listen`
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Longest time for which the coordinator may be unreachable, in seconds
    #[arg(long, alias = "patience", value_name = "SECONDS", default_value_t = PATIENCE_SECS)]
    reconnect_timeout: u64,
    /// Keep what is applied here in a journal in this directory: a process that is started again with the same one goes on
    /// from there. It is removed when the run has ended
    #[arg(long, value_name = "DIR", env = "MESHSIM_JOURNAL")]
    journal: Option<PathBuf>,
    /// End when standard input does: for children of another process
    #[arg(long, hide = true)]
    end_with_stdin: bool,
    /// Write the trace where others can follow it: for children of another process
    #[arg(long, hide = true, value_name = "DIR")]
    trace_parts: Option<PathBuf>,
}

impl JoinArgs {
    /// The file with the cluster's secret, if one was named.
    pub(crate) fn secret_file(&self) -> Option<&Path> {
        self.cluster.secret_file.as_deref()
    }

    /// Joins, and stays until the run is over. With `expected`: only a run of that experiment. With `grace`: the first
    /// signal to go lets its actors leave, within that time; without, it goes at once.
    pub(crate) fn take_part(
        self,
        role: &str,
        names: Vec<String>,
        count: u32,
        expected: Option<Experiment>,
        grace: Option<Duration>,
    ) -> Result<Exit, Error> {
        // Before anything is waited for: the first process of a container gets no signal that it has no handler for.
        interrupt::exit_when_asked()?;
        let beyond = !self.listen.ip().is_loopback() || !is_loopback(&self.join);
        let credentials = self.cluster.credentials(SecretRole::Member, beyond)?;
        if beyond && self.listen.ip().is_loopback() && self.advertise.is_none() {
            let why = format!("the processes of other machines cannot bring messages to {}", self.listen);
            let help = "`--listen 0.0.0.0:7701` listens for them too; `--advertise HOST:PORT` says where they reach it";
            return Err(Error::WrongInput(why, help.into()));
        }
        if let Some(address) = &self.advertise
            && !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        {
            let why = format!("{address:?} is no address");
            return Err(Error::WrongInput(why, "`--advertise HOST:PORT`, as in `node-3:7701`".into()));
        }
        if self.end_with_stdin {
            interrupt::exit_with_stdin();
        }
        let join = Join {
            role: role.into(),
            names,
            count,
            address: self.advertise.clone().unwrap_or_default(),
            ..Join::default()
        };
        let leaving = grace.map(|grace| Leaving { asked: interrupt::leave_when_asked(), grace });
        let joined = meshsim_run::block_on(meshsim_run::join(Member {
            hub: self.join,
            credentials,
            join,
            listen: self.listen,
            patience: Duration::from_secs(self.reconnect_timeout),
            leaving,
            expected,
            trace_parts: self.trace_parts,
            journal: self.journal,
        }));
        match joined {
            Ok(()) => Ok(Exit::Success),
            Err(JoinError::Listen(address, error)) => Err(cannot_listen(address, &error)),
            Err(JoinError::Member(error @ (MemberError::Refused(..) | MemberError::Payload(_)))) => {
                let help = "`--join`, `--cluster`, `--secret-file` and `--name` must be the coordinator's".into();
                Err(Error::WrongInput(error.to_string(), help))
            }
            Err(error) => Err(Error::Live(error.to_string())),
        }
    }
}
