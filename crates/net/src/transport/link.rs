//! An authenticated connection between two processes.

use std::io;
use std::time::Duration;

use meshsim_wire::{
    Challenge, FrameError, FrameKind, HELLO_BYTES_MAX, Hello, Nonce, Proof, Refusal, Secret, Side, Splitter, Welcome,
    decode, preface, put,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::tls::{explained, is_of_tls, refuser};
use super::{Halves, Reader, Refuser, Tls, Writer};
use crate::cluster::{Answer, Closure, Control, Failure, Purpose, refusal};
use crate::text::brief;

/// Limit for a handshake: a peer that sends nothing, or sends slowly, is disconnected after that.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);
/// After this long without a message the other side counts as gone, whatever TCP reports.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// Credentials of a process.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Name of the cluster.
    pub cluster: String,
    /// Shared secret of its processes.
    pub secret: Secret,
    /// TLS, if the cluster uses it.
    pub tls: Option<Tls>,
}

/// Reason why a connection is unusable, worded about the other side: "it ...".
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("broke off: {0}")]
    Broken(io::Error),
    #[error("ended the connection")]
    Ended,
    #[error("failed the TLS handshake: {}", explained(.0))]
    Tls(io::Error),
    #[error("did not finish the handshake in {} s", .0.as_secs())]
    Late(Duration),
    #[error("said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("{}", brief(.0))]
    Frame(#[from] FrameError),
    #[error("belongs to cluster {:?}, and this is {ours:?}", brief(.theirs))]
    OtherCluster { theirs: String, ours: String },
    #[error("does not know the cluster's secret")]
    WrongSecret,
    #[error("was refused: {}", brief(.0))]
    Denied(String),
    #[error("refused: {}", brief(&.0.why))]
    Refused(Refusal),
    #[error("{}", brief(.0))]
    ProtocolViolation(String),
}

impl LinkError {
    /// The side that refused the handshake, if it did so because of a certificate or secret. Other refusals and network
    /// errors do not show that.
    pub(crate) fn refuser(&self) -> Option<Refuser> {
        match self {
            LinkError::Tls(error) => refuser(error),
            LinkError::WrongSecret => Some(Refuser::Dialler),
            LinkError::Refused(refusal) if !refusal.retryable => Some(Refuser::Acceptor),
            _ => None,
        }
    }

    /// True if another attempt may succeed.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            LinkError::Refused(refusal) => refusal.retryable,
            // A connection that breaks in the handshake may succeed next time; a certificate will not.
            LinkError::Tls(error) => !is_of_tls(error),
            LinkError::Unreachable(_) | LinkError::Broken(_) | LinkError::Ended => true,
            LinkError::Silent(_) | LinkError::Late(_) => true,
            _ => false,
        }
    }
}

impl From<Closure> for LinkError {
    fn from(closure: Closure) -> Self {
        match closure {
            Closure::Denied(why) => LinkError::Denied(why),
            Closure::Violation(what) => LinkError::ProtocolViolation(what),
        }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Failure { why: error.to_string(), is_retryable: error.is_retryable() }
    }
}

/// The bytes of a connection, and those of them that are not yet processed.
pub(crate) struct Link {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) splitter: Splitter,
}

impl Link {
    pub(crate) fn new((reader, writer): Halves) -> Self {
        Link { reader, writer, splitter: Splitter::new() }
    }

    async fn more(&mut self) -> Result<(), LinkError> {
        match self.reader.read_buf(self.splitter.room()).await {
            Ok(0) => Err(LinkError::Ended),
            Ok(_) => Ok(()),
            // The other side rejects a certificate when this side already takes TLS as established.
            Err(error) if is_of_tls(&error) => Err(LinkError::Tls(error)),
            Err(error) => Err(LinkError::Broken(error)),
        }
    }

    async fn read_preface(&mut self) -> Result<(), LinkError> {
        while !self.splitter.preface()? {
            self.more().await?;
        }
        Ok(())
    }

    /// The next frame, which must be of this kind; and its body as it arrived.
    async fn read<V: DeserializeOwned>(&mut self, kind: FrameKind) -> Result<(V, Vec<u8>), LinkError> {
        loop {
            if let Some(frame) = self.splitter.next_frame()? {
                if frame.kind == FrameKind::Refusal && kind != FrameKind::Refusal {
                    return Err(LinkError::Refused(frame.value()?));
                }
                return Ok((frame.expect(kind)?, frame.bytes().to_vec()));
            }
            self.more().await?;
        }
    }

    /// Sends a control message before there is an outbox.
    pub(crate) async fn send(&mut self, control: &Control) -> Result<(), LinkError> {
        let mut out = Vec::new();
        framed(&mut out, FrameKind::Control, control)?;
        self.write(&out).await
    }

    /// Receives a control message before there is a reader.
    pub(crate) async fn receive(&mut self) -> Result<Control, LinkError> {
        let hearing = self.read(FrameKind::Control);
        timeout(SILENCE, hearing)
            .await
            .map_or(Err(LinkError::Silent(SILENCE)), |heard| heard.map(|(control, _)| control))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let written = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        };
        written.await.map_err(LinkError::Broken)
    }

    /// Authenticates this process to an acceptor that it has dialled.
    pub(crate) async fn introduce(&mut self, credentials: &Credentials, wish: Purpose) -> Result<Answer, LinkError> {
        let hello = Hello { cluster: credentials.cluster.clone(), wish, nonce: Nonce::fresh() };
        let handshake = async {
            let mut out = preface().to_vec();
            let hello = framed(&mut out, FrameKind::Hello, &hello)?;
            if hello.len() >= HELLO_BYTES_MAX {
                let what = "takes no hello that is so long: ask for fewer actors by name";
                return Err(LinkError::ProtocolViolation(what.into()));
            }
            // An acceptor that stops reading has sent its reason: it is read in any case.
            let _ = self.write(&out).await;
            self.read_preface().await?;
            let (_, challenge): (Challenge, _) = self.read(FrameKind::Challenge).await?;
            out.clear();
            framed(&mut out, FrameKind::Proof, &credentials.secret.prove(Side::Dialler, &hello, &challenge))?;
            let _ = self.write(&out).await;
            // The answer lists all assigned actors, and it comes from the acceptor that was dialled.
            self.splitter.trust();
            let (welcome, _): (Welcome<Answer>, _) = self.read(FrameKind::Welcome).await?;
            if !credentials.secret.verify(&welcome.proof, Side::Acceptor, &hello, &challenge) {
                return Err(LinkError::WrongSecret);
            }
            Ok(welcome.answer)
        };
        timeout(HANDSHAKE, handshake).await.unwrap_or(Err(LinkError::Late(HANDSHAKE)))
    }

    /// Authenticates a dialler. [`welcome`](Self::welcome) or [`turn`](Self::turn) answers its purpose.
    pub(crate) async fn accept(&mut self, credentials: &Credentials) -> Result<(Purpose, Proof), LinkError> {
        let handshake = async {
            if let Err(error) = self.read_preface().await {
                // The other side can then report the same about this one. A peer with a foreign protocol gets no
                // answer.
                if matches!(error, LinkError::Frame(FrameError::Version(_))) {
                    let _ = self.write(&preface()).await;
                }
                return Err(error);
            }
            let (hello, hello_bytes): (Hello<Purpose>, _) = self.read(FrameKind::Hello).await?;
            if hello.cluster != credentials.cluster {
                let error = LinkError::OtherCluster { theirs: hello.cluster, ours: credentials.cluster.clone() };
                return Err(self.turned(error, "this is another cluster").await);
            }
            // Not kept while waiting for the proof: it may take far more memory than its bytes.
            drop(hello.wish);
            let mut out = preface().to_vec();
            let challenge = framed(&mut out, FrameKind::Challenge, &Challenge { nonce: Nonce::fresh() })?;
            self.write(&out).await?;
            let (proof, _): (Proof, _) = self.read(FrameKind::Proof).await?;
            if !credentials.secret.verify(&proof, Side::Dialler, &hello_bytes, &challenge) {
                return Err(self.turn_with(LinkError::WrongSecret, refusal("wrong secret", false)).await);
            }
            let hello: Hello<Purpose> =
                decode(&hello_bytes).map_err(|error| LinkError::Frame(FrameError::Body(FrameKind::Hello, error)))?;
            Ok((hello.wish, credentials.secret.prove(Side::Acceptor, &hello_bytes, &challenge)))
        };
        timeout(HANDSHAKE, handshake).await.unwrap_or(Err(LinkError::Late(HANDSHAKE)))
    }

    /// Accepts the other side.
    pub(crate) async fn welcome(&mut self, proof: Proof, answer: Answer) -> Result<(), LinkError> {
        let mut out = Vec::new();
        framed(&mut out, FrameKind::Welcome, &Welcome { proof, answer })?;
        self.splitter.trust();
        timeout(HANDSHAKE, self.write(&out)).await.unwrap_or(Err(LinkError::Late(HANDSHAKE)))
    }

    /// Refuses the other side and sends the reason.
    pub(crate) async fn deny(&mut self, refusal: Refusal) -> LinkError {
        let error = LinkError::Denied(refusal.why.clone());
        self.turn_with(error, refusal).await
    }

    /// Refuses the other side before it has received our preface.
    async fn turned(&mut self, error: LinkError, why: &str) -> LinkError {
        let mut out = preface().to_vec();
        let _ = put(&mut out, FrameKind::Refusal, &refusal(why, false));
        let _ = self.write(&out).await;
        error
    }

    async fn turn_with(&mut self, error: LinkError, refusal: Refusal) -> LinkError {
        let mut out = Vec::new();
        let _ = put(&mut out, FrameKind::Refusal, &refusal);
        // The refusal may fail to arrive, and must not hold up this process.
        let _ = timeout(HANDSHAKE, self.write(&out)).await;
        error
    }
}

/// Appends a frame; returns its body.
fn framed<V: Serialize>(out: &mut Vec<u8>, kind: FrameKind, value: &V) -> Result<Vec<u8>, LinkError> {
    let start = out.len();
    put(out, kind, value).map_err(|error| LinkError::Frame(FrameError::Body(kind, error)))?;
    // Length and kind precede it.
    Ok(out[start + 5..].to_vec())
}
