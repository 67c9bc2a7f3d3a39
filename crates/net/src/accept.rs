//! Connections that other processes open to this process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use meshsim_wire::{FrameKind, Refusal};
use tokio::net::lookup_host;
use tokio::sync::oneshot;
use tokio::time::{Duration, sleep, timeout};

use crate::cluster::{Answer, ConnectionId, Control, Join, Joined, ProcessId, Purpose, refusal};
use crate::dial::ping;
use crate::host::Host;
use crate::peer_log::PeerLog;
use crate::run_spec::Live;
use crate::text::{brief, shown};
use crate::transport::{Accepted, HANDSHAKE, Incoming, Link, LinkError, Listener, Outbox};

/// Connections that may be in their handshake at once. The next connection evicts the oldest: an honest peer finishes
/// in milliseconds, and idle connections must not block it.
const HANDSHAKES_MAX: usize = 256;
/// Longest text that a process may send about itself, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// Admits processes that want to host actors: the hub.
pub(crate) trait Admission {
    /// Assigns actors to the process and numbers its connection, or returns the reason of a refusal. Other processes
    /// reach it at `address`.
    fn admit(&self, join: Join, address: String) -> Result<(ConnectionId, Joined), Refusal>;
    /// Serves the connection until it ends.
    fn serve(
        self: Rc<Self>,
        connection: ConnectionId,
        joined: Joined,
        link: Link,
    ) -> Pin<Box<dyn Future<Output = LinkError>>>;
    /// Called when the process did not receive its admission.
    fn abandon(&self, connection: ConnectionId, error: LinkError) -> LinkError;
    /// Status of the run in one line; a refusal while it cannot begin.
    fn health(&self) -> Result<String, Refusal>;
}

/// Accepts connections indefinitely.
pub(crate) async fn serve<A: Live>(listener: impl Listener, host: Rc<Host<A>>, hub: Option<Rc<dyn Admission>>) {
    let peer_log = Rc::new(PeerLog::default());
    let door = Rc::new(Handshakes::default());
    loop {
        let incoming = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors: the open connections continue, and some of them will end.
                tracing::warn!("cannot accept a connection: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = Permit::take(&door);
        let (host, hub, peer_log) = (host.clone(), hub.clone(), peer_log.clone());
        tokio::task::spawn_local(async move {
            let clock = &host.shell.clock;
            let from = incoming.from;
            match receive(&host, hub, incoming, place).await {
                Closed::BeforeAdmission(LinkError::Ended) => {
                    let left = LinkError::ProtocolViolation("ended the connection in the handshake".into());
                    peer_log.complain(clock, from, &left);
                }
                // The owner of the connection reports these itself.
                Closed::AfterAdmission(LinkError::Ended | LinkError::Broken(_) | LinkError::Silent(_)) => {
                    tracing::debug!("the connection from {from} is over");
                }
                Closed::BeforeAdmission(error) | Closed::AfterAdmission(error) => {
                    peer_log.complain(clock, from, &error)
                }
            }
        });
    }
}

/// Reason why a connection ended.
enum Closed {
    /// Before its admission.
    BeforeAdmission(LinkError),
    /// After its admission.
    AfterAdmission(LinkError),
}

/// Connections in their handshake, in the order of their arrival.
#[derive(Default)]
struct Handshakes {
    came: Cell<u64>,
    here: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
}

/// Permit for one handshake; released when the handshake ends.
struct Permit {
    door: Rc<Handshakes>,
    number: u64,
    evicted: oneshot::Receiver<()>,
}

impl Permit {
    fn take(door: &Rc<Handshakes>) -> Self {
        let (keep, evicted) = oneshot::channel();
        let number = door.came.replace(door.came.get() + 1);
        let mut here = door.here.borrow_mut();
        if here.len() >= HANDSHAKES_MAX {
            // Its holder notices that the sender is dropped.
            here.pop_first();
        }
        here.insert(number, keep);
        Permit { door: door.clone(), number, evicted }
    }

    /// Waits until a later connection evicts this one.
    async fn evicted(&mut self) -> LinkError {
        let _ = (&mut self.evicted).await;
        LinkError::ProtocolViolation(format!(
            "was in the handshake still when {HANDSHAKES_MAX} others had come after it"
        ))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.door.here.borrow_mut().remove(&self.number);
    }
}

async fn receive<A: Live>(
    host: &Rc<Host<A>>,
    hub: Option<Rc<dyn Admission>>,
    Incoming { from, opening }: Incoming,
    mut place: Permit,
) -> Closed {
    let shaking = async {
        let accepted = timeout(HANDSHAKE, opening).await.map_err(|_| LinkError::Late(HANDSHAKE))?;
        let Accepted { halves, certified } = accepted.map_err(LinkError::Tls)?;
        let mut link = Link::new(halves);
        let (wish, proof) = link.accept(&host.credentials).await?;
        Ok((link, wish, proof, certified))
    };
    let met = tokio::select! {
        met = shaking => met,
        error = place.evicted() => Err(error),
    };
    let (mut link, wish, proof, certified) = match met {
        Ok(met) => met,
        Err(error) => return Closed::BeforeAdmission(error),
    };
    let refused = match (wish, hub) {
        (Purpose::Probe, hub) => {
            let well = hub.map_or_else(|| Ok("hosts its actors".to_owned()), |hub| hub.health());
            let answered = match well {
                Ok(well) => link.welcome(proof, Answer::Healthy(well)).await,
                // No error: the peer asked, and this is the answer.
                Err(not_yet) => {
                    link.deny(not_yet).await;
                    Ok(())
                }
            };
            return match answered {
                Ok(()) => Closed::AfterAdmission(LinkError::Ended),
                Err(error) => Closed::BeforeAdmission(error),
            };
        }
        (Purpose::Join(join), Some(hub)) => {
            let admitted = match (certified.check(&join.role), address(&join, from).await) {
                // Other processes could not reach its actors.
                (Err(why), _) => {
                    Err(refusal(format!("the other processes will refuse its certificate: {}", brief(why)), false))
                }
                (Ok(()), Ok(address)) => hub.admit(join, address),
                (Ok(()), Err(refused)) => Err(refused),
            };
            match admitted {
                Err(refused) => refused,
                Ok((connection, joined)) => {
                    drop(place);
                    // The hub must notice the end of the process, whether or not its admission arrives.
                    return match link.welcome(proof, Answer::Joined(joined.clone())).await {
                        Ok(()) => Closed::AfterAdmission(hub.serve(connection, joined, link).await),
                        Err(error) => Closed::AfterAdmission(hub.abandon(connection, error)),
                    };
                }
            }
        }
        (Purpose::Join(_), None) => refusal("this process hosts actors itself; join the coordinator's", false),
        // The hub may not have announced this peer yet.
        (Purpose::Peer { process, boot_id, .. }, _) if !host.knows(process, boot_id) => {
            refusal("the coordinator has not named you here", true)
        }
        (Purpose::Peer { process, .. }, _) if certified.check(host.role_of(process)).is_err() => {
            refusal(format!("its certificate is not that of a {}", host.role_of(process)), false)
        }
        (Purpose::Peer { to, .. }, _) if to != host.me().boot_id => refusal("another process is reached here", true),
        (Purpose::Peer { process, .. }, _) => {
            drop(place);
            return match link.welcome(proof, Answer::Peer).await {
                Ok(()) => Closed::AfterAdmission(take_from(host, process, link).await),
                Err(error) => Closed::BeforeAdmission(error),
            };
        }
    };
    Closed::BeforeAdmission(link.deny(refused).await)
}

/// Address at which other processes reach a process that joins from `from`.
async fn address(join: &Join, from: SocketAddr) -> Result<String, Refusal> {
    let about = [&join.role, &join.hostname, &join.address];
    if about.iter().any(|text| text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control)) {
        return Err(refusal("its role, its machine or its address has no name that can be shown", false));
    }
    if let Some(port) = join.address.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(from.ip(), port).to_string());
    }
    // Resolving a name may take long, so it does not happen in this thread.
    let known = join.address.parse::<SocketAddr>().is_ok()
        || timeout(HANDSHAKE, lookup_host(&join.address)).await.is_ok_and(|found| found.is_ok());
    match known {
        true => Ok(join.address.clone()),
        false => Err(refusal(format!("cannot resolve {:?}: give HOST:PORT", join.address), false)),
    }
}

/// Receives messages from a peer, and answers its pings.
async fn take_from<A: Live>(host: &Rc<Host<A>>, process: ProcessId, mut link: Link) -> LinkError {
    let outbox = Outbox::default();
    let hear = |control| match control {
        Control::Ping(sent) => {
            outbox.put(FrameKind::Control, &Control::Pong { sent, count: host.shell.clock.own() });
            Ok(())
        }
        other => Err(LinkError::ProtocolViolation(format!("said {} to a peer", shown(&other)))),
    };
    tokio::select! {
        error = host.shell.read(&mut link.reader, &mut link.splitter, process, hear) => error,
        error = outbox.write_to(&mut link.writer) => LinkError::Broken(error),
        error = ping(&outbox, || host.shell.clock.own()) => error,
    }
}
