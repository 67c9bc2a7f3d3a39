//! Connections to other processes: how they are opened and secured, and the bytes on them.
//!
//! A connection is two halves of a stream of bytes. A [`Transport`] opens one to another process, and a [`Listener`]
//! accepts those that others open. Over the halves, a [`Link`] authenticates both sides, and an [`Outbox`] writes
//! frames. Neither knows what carries the bytes; the cluster protocol (`net/cluster/`) does not even know a link.
//!
//! To add one: write `transport/x.rs` with a `Transport` and a `Listener`, and name it in `net/src/host.rs` and
//! `member.rs`, where a process opens its sockets.

mod link;
mod outbox;
mod tcp;
mod tls;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub use link::Credentials;
pub(crate) use link::{HANDSHAKE, Link, LinkError, SILENCE};
pub use outbox::{OUTBOX_BYTES_MAX, Outbox};
pub(crate) use tcp::{Tcp, TcpAcceptor};
pub(crate) use tls::{Certified, Refuser};
pub use tls::{Tls, TlsError};

/// Reading half of a connection.
pub(crate) type Reader = Box<dyn AsyncRead + Unpin>;
/// Writing half of a connection.
pub(crate) type Writer = Box<dyn AsyncWrite + Unpin>;
/// Both halves of a connection.
pub(crate) type Halves = (Reader, Writer);
/// What takes time while a connection is opened.
pub(crate) type Opening<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Opens connections to other processes.
pub(crate) trait Transport {
    /// Opens a connection to the process at `address`, and makes sure that it is the expected one, as far as the
    /// transport can. It gives up after a few seconds.
    fn dial<'a>(&'a self, address: &'a str, whom: Whom<'a>) -> Opening<'a, Result<Halves, LinkError>>;
}

/// Accepts connections that other processes open.
pub(crate) trait Listener {
    /// Waits for the next connection. Cancelling it loses no connection. An error concerns this connection alone.
    fn accept(&self) -> Opening<'_, io::Result<Incoming>>;
}

/// Expected peer of a dialler, which its certificate must confirm.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom<'a> {
    /// A process of this role.
    Role(&'a str),
    /// A process of any role.
    Any,
}

/// A connection that another process is opening.
pub(crate) struct Incoming {
    /// Address from which it comes.
    pub(crate) from: SocketAddr,
    /// Secures it. The caller limits the time.
    pub(crate) opening: Opening<'static, io::Result<Accepted>>,
}

/// A connection that another process has opened.
pub(crate) struct Accepted {
    pub(crate) halves: Halves,
    /// What the transport knows of the other process.
    pub(crate) certified: Certified,
}
