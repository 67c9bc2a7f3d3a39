//! Connections that this process opens.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use meshsim_actor::Rng;
use meshsim_wire::FrameKind;
use tokio::net::TcpStream;
use tokio::time::{interval, sleep, timeout};

use crate::cluster::{Answer, Control, PING, Peer, Purpose, backoff};
use crate::host::Host;
use crate::link::{Credentials, Link, LinkError};
use crate::outbox::Outbox;
use crate::run_spec::Live;
use crate::stream::{self, Refuser, Whom};
use crate::text::shown;

/// Limit for opening a TCP connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Failures in a row after which messages to a process are lost instead of waiting for it: about a second.
const FAILURES_MAX: u32 = 5;

/// Connects to `host:port`; the host is a name or an address.
pub(crate) async fn connect(
    address: &str,
    credentials: &Credentials,
    whom: Whom<'_>,
) -> Result<(Link, SocketAddr), LinkError> {
    let connecting = async {
        // An address needs no thread for resolving it.
        let stream = match address.parse::<SocketAddr>() {
            Ok(address) => TcpStream::connect(address).await?,
            Err(_) => TcpStream::connect(address).await?,
        };
        let own = stream.local_addr()?;
        io::Result::Ok((stream, own))
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} s", CONNECT.as_secs()));
    let (stream, own) =
        timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(late())).map_err(LinkError::Unreachable)?;
    let halves = timeout(CONNECT, stream::dialled(stream, credentials.tls.as_ref(), whom));
    let halves = halves.await.unwrap_or_else(|_| Err(late())).map_err(LinkError::Tls)?;
    Ok((Link::new(halves), own))
}

/// Sends a ping every second: a reply to a ping of the other side may wait behind much else.
pub(crate) async fn ping(outbox: &Outbox, count: impl Fn() -> u64) -> LinkError {
    let mut ticks = interval(PING);
    loop {
        ticks.tick().await;
        outbox.put(FrameKind::Control, &Control::Ping(count()));
    }
}

/// Delivers the messages in the outbox to another process, indefinitely: connects when there is something to send, and
/// again when the connection breaks.
pub(crate) async fn bring<A: Live>(host: Rc<Host<A>>, peer: Peer, outbox: Rc<Outbox>) {
    // It may have been unreachable at another address. Then no message could be put in, and this process would never
    // dial.
    outbox.set_unreachable(false);
    // All processes of a cluster know each other, and most never send messages to each other: until then, a peer costs
    // next to nothing.
    outbox.wanted().await;
    Box::pin(keep_bringing(host, peer, outbox)).await;
}

async fn keep_bringing<A: Live>(host: Rc<Host<A>>, peer: Peer, outbox: Rc<Outbox>) {
    let me = host.me();
    let mut rng = Rng::keyed(me.boot_id, u64::from(peer.sender.process), 1);
    let mut failures = 0;
    loop {
        // An unreachable process is dialled although no message can be put in for it.
        if failures < FAILURES_MAX {
            outbox.wanted().await;
        }
        let error = match dial(&host, &peer).await {
            Ok(mut link) => {
                failures = 0;
                outbox.set_unreachable(false);
                let hear = |control| match control {
                    Control::Ping(_) | Control::Pong { .. } => Ok(()),
                    other => Err(LinkError::ProtocolViolation(format!("said {} to a peer", shown(&other)))),
                };
                tokio::select! {
                    error = outbox.write_to(&mut link.writer) => LinkError::Broken(error),
                    error = host.shell.read(&mut link.reader, &mut link.splitter, peer.sender.process, hear) => error,
                    error = ping(&outbox, || host.shell.clock.own()) => error,
                }
            }
            Err(error) => {
                match error.refuser() {
                    Some(Refuser::Dialler) => host.report(peer.sender.process, &error),
                    Some(Refuser::Acceptor) => host.report(me.process, &error),
                    None => {}
                }
                error
            }
        };
        failures += 1;
        tracing::debug!(process = peer.sender.process, address = peer.address, "the connection to it {error}");
        if failures == FAILURES_MAX {
            let lost = host.shell.discard(&outbox);
            tracing::warn!("process {} at {} {error}: {lost} messages are lost", peer.sender.process, peer.address);
        }
        sleep(backoff(failures, &mut rng)).await;
    }
}

async fn dial<A: Live>(host: &Rc<Host<A>>, peer: &Peer) -> Result<Link, LinkError> {
    let (mut link, _) =
        connect(&peer.address, &host.credentials, Whom::Role(host.role_of(peer.sender.process))).await?;
    let me = host.me();
    let to = peer.sender.boot_id;
    match link.introduce(&host.credentials, Purpose::Peer { process: me.process, boot_id: me.boot_id, to }).await? {
        Answer::Peer => Ok(link),
        other => Err(LinkError::ProtocolViolation(format!("answered {} to a peer", shown(&other)))),
    }
}
