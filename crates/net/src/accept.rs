//! Connections that others make to this process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use meshsim_wire::{Kind, Refusal};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::oneshot;
use tokio::time::{Duration, sleep, timeout};

use crate::cast::Live;
use crate::complaints::Complaints;
use crate::control::{Answer, Control, Joined, ProcessId, Wish};
use crate::dial::ping;
use crate::host::Host;
use crate::link::{HANDSHAKE, Link, LinkError, refusal};
use crate::outbox::Outbox;
use crate::seats::Join;
use crate::stream::{self, Accepted};
use crate::text::{brief, shown};

/// Connections that may be in their handshake at once. When one more comes, that which has been at it longest is closed:
/// whoever means it is done in milliseconds, and cannot be kept out by those who only stand there.
const HANDSHAKES_MAX: usize = 256;
/// Longest text of a process about itself.
const TEXT_BYTES_MAX: usize = 255;

/// Takes in processes that want to host something: the hub.
pub(crate) trait Joinable {
    /// Gives it seats, or says why not. Others reach it at `address`.
    fn admit(&self, join: &Join, address: String) -> Result<Joined, Refusal>;
    /// Talks with it until the connection is of no use any more.
    fn attend(self: Rc<Self>, joined: Joined, link: Link) -> Pin<Box<dyn Future<Output = LinkError>>>;
    /// It has not heard that it is in.
    fn missed(&self, joined: &Joined, error: LinkError) -> LinkError;
    /// How the run stands, in one line; a refusal as long as it cannot begin.
    fn well(&self) -> Result<String, Refusal>;
}

/// Accepts connections for ever.
pub(crate) async fn serve<A: Live>(listener: TcpListener, host: Rc<Host<A>>, hub: Option<Rc<dyn Joinable>>) {
    let complaints = Rc::new(Complaints::default());
    let door = Rc::new(Door::default());
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: those who are here go on, and some will leave.
                tracing::warn!("cannot accept a connection: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = Place::take(&door);
        let (host, hub, complaints) = (host.clone(), hub.clone(), complaints.clone());
        tokio::task::spawn_local(async move {
            let clock = &host.shell.clock;
            match receive(&host, hub, stream, from, place).await {
                Closed::AtDoor(LinkError::Ended) => {
                    let left = LinkError::Misbehaved("ended the connection in the handshake".into());
                    complaints.complain(clock, from, &left);
                }
                // Whoever is concerned says what that means.
                Closed::Inside(LinkError::Ended | LinkError::Broken(_) | LinkError::Silent(_)) => {
                    tracing::debug!("the connection from {from} is over");
                }
                Closed::AtDoor(error) | Closed::Inside(error) => complaints.complain(clock, from, &error),
            }
        });
    }
}

/// Why a connection is over.
enum Closed {
    /// It was not let in.
    AtDoor(LinkError),
    /// It was.
    Inside(LinkError),
}

/// Connections that are in their handshake, in the order in which they came.
#[derive(Default)]
struct Door {
    came: Cell<u64>,
    here: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
}

/// One of the places at the door; given back when the handshake is over.
struct Place {
    door: Rc<Door>,
    number: u64,
    pushed_out: oneshot::Receiver<()>,
}

impl Place {
    fn take(door: &Rc<Door>) -> Self {
        let (keep, pushed_out) = oneshot::channel();
        let number = door.came.replace(door.came.get() + 1);
        let mut here = door.here.borrow_mut();
        if here.len() >= HANDSHAKES_MAX {
            // Whoever stands there notices that its sender is gone.
            here.pop_first();
        }
        here.insert(number, keep);
        Place { door: door.clone(), number, pushed_out }
    }

    /// Waits until others want this place.
    async fn pushed_out(&mut self) -> LinkError {
        let _ = (&mut self.pushed_out).await;
        LinkError::Misbehaved(format!("was in the handshake still when {HANDSHAKES_MAX} others had come after it"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.here.borrow_mut().remove(&self.number);
    }
}

async fn receive<A: Live>(
    host: &Rc<Host<A>>,
    hub: Option<Rc<dyn Joinable>>,
    stream: TcpStream,
    from: SocketAddr,
    mut place: Place,
) -> Closed {
    let shaking = async {
        let accepting = timeout(HANDSHAKE, stream::accepted(stream, host.credentials.tls.as_ref()));
        let accepted = accepting.await.map_err(|_| LinkError::Late(HANDSHAKE))?;
        let Accepted { halves, certified } = accepted.map_err(LinkError::Tls)?;
        let mut link = Link::new(halves);
        let (wish, proof) = link.meet(&host.credentials).await?;
        Ok((link, wish, proof, certified))
    };
    let met = tokio::select! {
        met = shaking => met,
        error = place.pushed_out() => Err(error),
    };
    let (mut link, wish, proof, certified) = match met {
        Ok(met) => met,
        Err(error) => return Closed::AtDoor(error),
    };
    let refused = match (wish, hub) {
        (Wish::Probe, hub) => {
            let well = hub.map_or_else(|| Ok("hosts its actors".to_owned()), |hub| hub.well());
            let answered = match well {
                Ok(well) => link.welcome(proof, Answer::Well(well)).await,
                // Nothing to complain of: it asked, and this is the answer.
                Err(not_yet) => {
                    link.turn(not_yet).await;
                    Ok(())
                }
            };
            return match answered {
                Ok(()) => Closed::Inside(LinkError::Ended),
                Err(error) => Closed::AtDoor(error),
            };
        }
        (Wish::Join(join), Some(hub)) => {
            let admitted = match (certified.check(&join.role), address(&join, from).await) {
                // It would be given actors that nobody can reach.
                (Err(why), _) => {
                    Err(refusal(format!("the other processes will refuse its certificate: {}", brief(why)), false))
                }
                (Ok(()), Ok(address)) => hub.admit(&join, address),
                (Ok(()), Err(refused)) => Err(refused),
            };
            match admitted {
                Err(refused) => refused,
                Ok(joined) => {
                    drop(place);
                    // Whether or not it hears that it is in, the hub must notice when it is gone.
                    return match link.welcome(proof, Answer::Joined(joined.clone())).await {
                        Ok(()) => Closed::Inside(hub.attend(joined, link).await),
                        Err(error) => Closed::Inside(hub.missed(&joined, error)),
                    };
                }
            }
        }
        (Wish::Join(_), None) => refusal("this process hosts actors itself; join the coordinator's", false),
        // The hub may not have said yet who it is.
        (Wish::Bring { process, life, .. }, _) if !host.knows(process, life) => {
            refusal("the coordinator has not named you here", true)
        }
        (Wish::Bring { process, .. }, _) if certified.check(host.role_of(process)).is_err() => {
            refusal(format!("its certificate is not that of a {}", host.role_of(process)), false)
        }
        (Wish::Bring { to, .. }, _) if to != host.me().life => refusal("another process is reached here", true),
        (Wish::Bring { process, .. }, _) => {
            drop(place);
            return match link.welcome(proof, Answer::Bring).await {
                Ok(()) => Closed::Inside(take_from(host, process, link).await),
                Err(error) => Closed::AtDoor(error),
            };
        }
    };
    Closed::AtDoor(link.turn(refused).await)
}

/// Where others reach a process that joins from here.
async fn address(join: &Join, from: SocketAddr) -> Result<String, Refusal> {
    let about = [&join.role, &join.host, &join.address];
    if about.iter().any(|text| text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control)) {
        return Err(refusal("its role, its machine or its address has no name that can be shown", false));
    }
    if let Some(port) = join.address.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(from.ip(), port).to_string());
    }
    // A name may take long to look up: not in this thread.
    let known = join.address.parse::<SocketAddr>().is_ok()
        || timeout(HANDSHAKE, lookup_host(&join.address)).await.is_ok_and(|found| found.is_ok());
    match known {
        true => Ok(join.address.clone()),
        false => Err(refusal(format!("nobody can be reached at {:?}: give host:port", join.address), false)),
    }
}

/// Takes in what a peer brings, and says that it is heard.
async fn take_from<A: Live>(host: &Rc<Host<A>>, process: ProcessId, mut link: Link) -> LinkError {
    let outbox = Outbox::default();
    let hear = |control| match control {
        Control::Ping(sent) => {
            outbox.put(Kind::Control, &Control::Pong { sent, count: host.shell.clock.own() });
            Ok(())
        }
        other => Err(LinkError::Misbehaved(format!("said {} to a peer", shown(&other)))),
    };
    tokio::select! {
        error = host.shell.read(&mut link.reader, &mut link.splitter, process, hear) => error,
        error = outbox.write_to(&mut link.writer) => LinkError::Broken(error),
        error = ping(&outbox, || host.shell.clock.own()) => error,
    }
}
