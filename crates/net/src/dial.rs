//! Connections that this process opens.

use std::rc::Rc;

use meshsim_actor::Rng;
use meshsim_wire::FrameKind;
use tokio::time::{interval, sleep};

use crate::cluster::{Answer, Control, PING, Peer, Purpose, backoff};
use crate::host::Host;
use crate::run_spec::Live;
use crate::text::shown;
use crate::transport::{Link, LinkError, Outbox, Refuser, Whom};

/// Failures in a row after which messages to a process are lost instead of waiting for it: about a second.
const FAILURES_MAX: u32 = 5;

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
    let whom = Whom::Role(host.role_of(peer.sender.process));
    let mut link = Link::new(host.transport.dial(&peer.address, whom).await?);
    let me = host.me();
    let to = peer.sender.boot_id;
    match link.introduce(&host.credentials, Purpose::Peer { process: me.process, boot_id: me.boot_id, to }).await? {
        Answer::Peer => Ok(link),
        other => Err(LinkError::ProtocolViolation(format!("answered {} to a peer", shown(&other)))),
    }
}
