//! Deployment of the actors of a live run.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use meshsim_experiment::Experiment;
use meshsim_net::{Credentials, HubJournal, Join, Work};
use meshsim_wire::Secret;

use super::member::{JoinError, Member, join};

/// Deployment of the actors of a live run, and its options.
///
/// The coordinator, the autoscaler and the gateway's actor run in the process that opens the run. Nodes and loads run
/// in members that [`join`] it: other processes, or threads of this program.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Address at which members join.
    pub listen: SocketAddr,
    /// Authentication between processes.
    pub credentials: Credentials,
    /// Work of a service: a timer, or processor time.
    pub work: Work,
    /// True if the run continues after the experiment's duration, until it is stopped.
    pub until_stopped: bool,
    /// True if the run is traced.
    pub is_traced: bool,
    /// Directory in which this process, and members in threads of it, write their parts of the trace, so that other
    /// programs can follow the run; `None`: in unnamed files. Each file is removed when its part is sent.
    pub trace_parts: Option<PathBuf>,
    /// Members in threads of this program: at most this many for the nodes, and one for each load. `None`: all members
    /// are other processes.
    pub threads: Option<NonZeroUsize>,
    /// Journal of this process, with what the coordinator has decided: see [`HubJournal`]. `None`: the run ends with it.
    pub journal: Option<HubJournal>,
}

impl Deployment {
    /// All members are other processes.
    pub fn joined(listen: SocketAddr, credentials: Credentials) -> Self {
        Deployment {
            listen,
            credentials,
            work: Work::Sleep,
            until_stopped: false,
            is_traced: false,
            trace_parts: None,
            threads: None,
            journal: None,
        }
    }

    /// All members are threads of this program, connected over loopback: at most this many for the nodes, and one for
    /// each load. No other process can join.
    pub fn threads(nodes: NonZeroUsize) -> Self {
        // Only this process knows the name, so two runs on one machine never mix.
        let credentials = Credentials { cluster: Secret::fresh_text(), secret: Secret::none(), tls: None };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Deployment { threads: Some(nodes), ..Deployment::joined(listen, credentials) }
    }
}

/// The actors of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Role of the actors: `node` or `client`.
    pub role: &'static str,
    /// Their names.
    pub names: Vec<String>,
}

/// Distributes nodes and loads over members: at most `members` for the nodes, neighbours together, and one for each
/// load.
pub fn parts(experiment: &Experiment, members: NonZeroUsize) -> Vec<Part> {
    let mesh = &experiment.mesh;
    // Spares join only when a process starts them.
    let nodes: Vec<String> = mesh.nodes.iter().filter(|node| !node.is_spare()).map(|node| node.name.clone()).collect();
    let each = nodes.len().div_ceil(members.get()).max(1);
    let groups = nodes.chunks(each).map(|names| Part { role: "node", names: names.to_vec() });
    let clients = mesh.loads.iter().map(|load| Part { role: "client", names: vec![load.name.clone()] });
    groups.chain(clients).collect()
}

/// Time for which a member in a thread tries to reach the hub, which is in the same process.
const PATIENCE: Duration = Duration::from_secs(5);

/// Members in threads of this program.
#[derive(Debug, Default)]
pub(super) struct Threads(Vec<(Part, JoinHandle<Result<(), JoinError>>)>);

impl Threads {
    /// Starts the members, which then join.
    pub(super) fn start(
        experiment: &Experiment,
        threads: Option<NonZeroUsize>,
        hub: SocketAddr,
        credentials: &Credentials,
        trace_parts: Option<&Path>,
    ) -> io::Result<Self> {
        let start = |part: Part| {
            let member = Member {
                hub: hub.to_string(),
                credentials: credentials.clone(),
                join: Join { role: part.role.into(), names: part.names.clone(), ..Join::default() },
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                patience: PATIENCE,
                leaving: None,
                expected: None,
                trace_parts: trace_parts.map(Path::to_owned),
                journal: None,
            };
            // The name of a thread contains no NUL.
            let thread = std::thread::Builder::new().name(part.role.into());
            Ok((part, thread.spawn(|| super::block_on(join(member)))?))
        };
        let parts = threads.map(|threads| parts(experiment, threads));
        parts.into_iter().flatten().map(start).collect::<io::Result<Vec<_>>>().map(Threads)
    }

    /// Waits until all members have ended.
    pub(super) fn finish(self) {
        for (part, thread) in self.0 {
            let names = part.names.join(", ");
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("{names}: {error}"),
                Err(_) => tracing::error!("{names}: its thread broke off"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_member_and_spares_have_none() {
        let text = "{ duration: 1s, nodes: [ { name: n, count: 5 }, { name: spare, joins: never } ], services: { a: { \
                    endpoints: { get: {} } } }, load: { users: { to: a, arrivals: { constant: 1/s } } } }";
        let experiment = meshsim_experiment::parse("a.yaml", text, ".".as_ref(), &[]).unwrap();
        let members = |most| -> Vec<String> {
            let parts = parts(&experiment, NonZeroUsize::new(most).unwrap()).into_iter();
            parts.map(|part| format!("{} {}", part.role, part.names.join(" "))).collect()
        };
        assert_eq!(members(2), ["node n-0 n-1 n-2", "node n-3 n-4", "client users"]);
        assert_eq!(members(9).len(), 6);
    }
}
