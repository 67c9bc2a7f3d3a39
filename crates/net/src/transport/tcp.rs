//! Connections over TCP, with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Accepted, Certified, Halves, Incoming, LinkError, Listener, Opening, Tls, Transport, Whom};

/// Limit for opening a TCP connection, and for securing it.
const CONNECT: Duration = Duration::from_secs(3);

/// TCP, with TLS if the cluster uses it.
#[derive(Debug)]
pub(crate) struct Tcp(pub(crate) Option<Tls>);

impl Transport for Tcp {
    fn dial<'a>(&'a self, address: &'a str, whom: Whom<'a>) -> Opening<'a, Result<Halves, LinkError>> {
        Box::pin(async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} s", CONNECT.as_secs()));
            let stream = timeout(CONNECT, connect(address)).await.map_err(late).flatten();
            let stream = stream.map_err(LinkError::Unreachable)?;
            let Some(tls) = &self.0 else { return Ok(halves(stream)) };
            timeout(CONNECT, tls.dial(stream, whom)).await.map_err(late).flatten().map_err(LinkError::Tls)
        })
    }
}

/// A socket that accepts connections, and TLS if the cluster uses it.
pub(crate) struct TcpAcceptor(pub(crate) TcpListener, pub(crate) Option<Tls>);

impl Listener for TcpAcceptor {
    fn accept(&self) -> Opening<'_, io::Result<Incoming>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            let tls = self.1.clone();
            let opening = Box::pin(async move {
                prepare(&stream)?;
                let (halves, certified) = match tls {
                    None => (halves(stream), Certified::default()),
                    Some(tls) => tls.accept(stream).await?,
                };
                Ok(Accepted { halves, certified })
            });
            Ok(Incoming { from, opening })
        })
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    // An address needs no thread for resolving it.
    let stream = match address.parse::<SocketAddr>() {
        Ok(address) => TcpStream::connect(address).await?,
        Err(_) => TcpStream::connect(address).await?,
    };
    prepare(&stream)?;
    Ok(stream)
}

/// Messages are batched already, so they are sent without delay.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

fn halves(stream: TcpStream) -> Halves {
    let (reader, writer) = stream.into_split();
    (Box::new(reader), Box::new(writer))
}
