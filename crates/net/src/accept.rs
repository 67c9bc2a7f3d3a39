//! Connections that others make to this process.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use meshsim_wire::{Kind, Refusal};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, sleep};

use crate::cast::Live;
use crate::complaints::Complaints;
use crate::control::{Answer, Control, Joined, Sender, Wish};
use crate::host::Host;
use crate::link::{Link, LinkError, refusal};
use crate::outbox::Outbox;
use crate::seats::Join;
use crate::stream;
use crate::text::shown;

/// Connections that may be in their handshake at once; one beyond is closed without a word, and its owner comes again.
const HANDSHAKES_MAX: usize = 256;

/// Takes in processes that want to host something: the hub.
pub(crate) trait Joinable {
    /// Gives it seats, or says why not.
    fn admit(&self, join: &Join, from: SocketAddr) -> Result<Joined, Refusal>;
    /// Talks with it until the connection is of no use any more.
    fn attend(self: Rc<Self>, joined: Joined, link: Link) -> Pin<Box<dyn Future<Output = LinkError>>>;
    /// How the run stands, in one line.
    fn well(&self) -> String;
}

/// Accepts connections for ever.
pub(crate) async fn serve<A: Live>(
    listener: TcpListener,
    host: Rc<Host<A>>,
    hub: Option<Rc<dyn Joinable>>,
) {
    let complaints = Rc::new(Complaints::default());
    let shaking = Rc::new(Cell::new(0_usize));
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
        if shaking.get() >= HANDSHAKES_MAX {
            let crowd = LinkError::Misbehaved(format!("came while {HANDSHAKES_MAX} others were at the door"));
            complaints.complain(&host.shell.clock, from, &crowd);
            continue;
        }
        let place = Place::take(&shaking);
        let (host, hub, complaints) = (host.clone(), hub.clone(), complaints.clone());
        tokio::task::spawn_local(async move {
            match receive(&host, hub, stream, from, place).await {
                LinkError::Ended | LinkError::Broken(_) | LinkError::Silent(_) if host.shell.clock.has_begun() => {
                    tracing::debug!("the connection from {from} is over");
                }
                error => complaints.complain(&host.shell.clock, from, &error),
            }
        });
    }
}

/// One of the places at the door; given back when the handshake is over.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(shaking: &Rc<Cell<usize>>) -> Self {
        shaking.set(shaking.get() + 1);
        Place(shaking.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn receive<A: Live>(
    host: &Rc<Host<A>>,
    hub: Option<Rc<dyn Joinable>>,
    stream: TcpStream,
    from: SocketAddr,
    place: Place,
) -> LinkError {
    let shaking = async {
        let accepting = tokio::time::timeout(crate::link::HANDSHAKE, stream::accepted(stream, host.credentials.tls.as_ref()));
        let halves = accepting.await.map_err(|_| LinkError::Silent(crate::link::HANDSHAKE))?;
        let mut link = Link::new(halves.map_err(LinkError::Tls)?);
        let (wish, proof) = link.meet(&host.credentials).await?;
        Ok((link, wish, proof))
    };
    let (mut link, wish, proof) = match shaking.await {
        Ok(met) => met,
        Err(error) => return error,
    };
    match (wish, hub) {
        (Wish::Probe, hub) => {
            let well = hub.map_or_else(|| "hosts its actors".to_owned(), |hub| hub.well());
            link.welcome(proof, Answer::Well(well)).await.err().unwrap_or(LinkError::Ended)
        }
        (Wish::Join(join), Some(hub)) => match hub.admit(&join, from) {
            Err(refused) => link.turn(refused).await,
            Ok(joined) => {
                drop(place);
                match link.welcome(proof, Answer::Joined(joined.clone())).await {
                    Ok(()) => hub.attend(joined, link).await,
                    Err(error) => error,
                }
            }
        },
        (Wish::Join(_), None) => {
            link.turn(refusal("this process hosts actors itself; join the coordinator's", false)).await
        }
        // The hub may not have said yet who it is.
        (Wish::Bring(sender), _) if !host.knows(&sender) => {
            link.turn(refusal("the coordinator has not named you here", true)).await
        }
        (Wish::Bring(sender), _) => {
            drop(place);
            match link.welcome(proof, Answer::Bring).await {
                Ok(()) => take_from(host, &sender, link).await,
                Err(error) => error,
            }
        }
    }
}

/// Takes in what a peer brings, and says that it is heard.
async fn take_from<A: Live>(host: &Rc<Host<A>>, sender: &Sender, mut link: Link) -> LinkError {
    let outbox = Outbox::default();
    let hear = |control| match control {
        Control::Ping(sent) => {
            outbox.put(Kind::Control, &Control::Pong { sent, count: host.shell.clock.own() });
            Ok(())
        }
        other => Err(LinkError::Misbehaved(format!("said {} to a peer", shown(&other)))),
    };
    tokio::select! {
        error = host.shell.read(&mut link.reader, &mut link.splitter, sender.process, hear) => error,
        error = outbox.write_to(&mut link.writer) => LinkError::Broken(error),
    }
}
