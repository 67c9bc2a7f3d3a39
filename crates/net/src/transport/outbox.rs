//! Messages that wait to be written to one other process.

use std::cell::RefCell;
use std::io;

use meshsim_actor::{Envelope, LossReason, Time};
use meshsim_wire::FrameKind;
use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// Largest number of bytes that wait for one process. A message beyond it is lost, and the trace records that.
pub const OUTBOX_BYTES_MAX: usize = 8 << 20;

/// Largest number of waiting bytes including control messages. No correct peer leaves so much unread: beyond it the
/// connection is closed.
const OVERRUN_BYTES: usize = 2 * OUTBOX_BYTES_MAX;

/// A buffer of frames, and the task that writes it: the sending half of the transport. Frames are encoded into the
/// buffer, so one write takes everything since the last write.
#[derive(Debug, Default)]
pub struct Outbox {
    state: RefCell<State>,
    /// Notifies of bytes that were put in.
    filled: Notify,
    /// Notifies of bytes that were taken for writing.
    emptied: Notify,
    /// Notifies that more bytes wait than a peer may leave unread.
    overrun: Notify,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    /// Number of messages in the buffer.
    messages: u64,
    /// True if the other process has been unreachable for too long: messages to it are lost at once.
    unreachable: bool,
}

impl Outbox {
    /// Adds a message.
    ///
    /// # Errors
    /// The reason of the loss.
    #[inline]
    pub fn put_envelope<M: Serialize>(&self, due: Time, envelope: &Envelope<M>) -> Result<(), LossReason> {
        let mut state = self.state.borrow_mut();
        if state.unreachable {
            return Err(LossReason::Down);
        }
        if state.buffer.len() >= OUTBOX_BYTES_MAX {
            return Err(LossReason::Full);
        }
        if let Err(error) = meshsim_wire::put_envelope(&mut state.buffer, due, envelope) {
            tracing::warn!(from = %envelope.from, to = %envelope.to, %error, "a message cannot be sent");
            return Err(LossReason::Full);
        }
        state.messages += 1;
        let was_empty = state.messages == 1;
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Adds a control message. These are small and are never lost while the connection lasts.
    pub(crate) fn put<V: Serialize>(&self, kind: FrameKind, value: &V) {
        let mut state = self.state.borrow_mut();
        if let Err(error) = meshsim_wire::put(&mut state.buffer, kind, value) {
            tracing::error!(%error, "cannot be said to another process");
        }
        if state.buffer.len() > OVERRUN_BYTES {
            self.overrun.notify_one();
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Waits until at most this many bytes wait.
    pub async fn room(&self, bytes: usize) {
        while self.state.borrow().buffer.len() > bytes {
            self.emptied.notified().await;
        }
    }

    /// Number of bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.state.borrow().buffer.len()
    }

    /// Waits until there is something to write.
    pub(crate) async fn wanted(&self) {
        while self.state.borrow().buffer.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Drops all waiting bytes; returns the number of messages among them.
    pub(crate) fn clear(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        state.buffer.clear();
        self.emptied.notify_one();
        std::mem::take(&mut state.messages)
    }

    pub(crate) fn set_unreachable(&self, unreachable: bool) {
        self.state.borrow_mut().unreachable = unreachable;
    }

    /// Waits until more bytes wait than the other side may leave unread.
    async fn overrun(&self) {
        while self.state.borrow().buffer.len() <= OVERRUN_BYTES {
            self.overrun.notified().await;
        }
    }

    /// Writes the waiting bytes until the connection breaks. Bytes passed to `writer` by then may or may not have
    /// arrived.
    pub async fn write_to(&self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Error {
        let mut block = Vec::new();
        loop {
            self.wanted().await;
            {
                let mut state = self.state.borrow_mut();
                std::mem::swap(&mut state.buffer, &mut block);
                state.messages = 0;
            }
            self.emptied.notify_one();
            let written = async {
                writer.write_all(&block).await?;
                writer.flush().await
            };
            let written = tokio::select! {
                written = written => written,
                () = self.overrun() => Err(io::Error::other("it does not take what it is sent")),
            };
            if let Err(error) = written {
                return error;
            }
            block.clear();
            // A burst must not keep its memory indefinitely.
            block.shrink_to(OUTBOX_BYTES_MAX / 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use meshsim_actor::ActorId;

    use super::*;

    #[test]
    fn a_full_outbox_loses_as_full_and_an_unreachable_one_as_down() {
        let outbox = Outbox::default();
        let envelope = Envelope { from: ActorId(0), to: ActorId(1), seq: 0, msg: vec![0u8; 1 << 20] };
        let put = || outbox.put_envelope(Time::ZERO, &envelope);
        let taken = (0..20).take_while(|_| put().is_ok()).count();
        assert_eq!((taken, put()), (8, Err(LossReason::Full)));
        assert_eq!(outbox.clear(), 8);
        outbox.set_unreachable(true);
        assert_eq!(put(), Err(LossReason::Down));
    }

    #[test]
    fn a_peer_that_stops_reading_is_disconnected() {
        let outbox = Outbox::default();
        // The other end does not read.
        let (mut writer, _reader) = tokio::io::duplex(16);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let tell = async {
            loop {
                outbox.put(FrameKind::Control, &vec![0u8; 1 << 16]);
                tokio::task::yield_now().await;
            }
        };
        let error = runtime.block_on(async {
            tokio::select! {
                error = outbox.write_to(&mut writer) => error,
                () = tell => unreachable!(),
            }
        });
        assert_eq!(error.to_string(), "it does not take what it is sent");
        assert!(outbox.state.borrow().buffer.len() <= OVERRUN_BYTES + (1 << 17));
    }
}
