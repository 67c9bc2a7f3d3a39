//! Measurements of the run so far, shared by the run's thread, which must not wait, and the readers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use meshsim_mesh::Mesh;
use meshsim_net::News;
use meshsim_report::SoFar;

/// Largest number of unread bytes; later measurements are dropped until the run has ended.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Measurements of the run so far. They are decoded only when they are read.
#[derive(Debug)]
pub(super) struct Board {
    mesh: Arc<Mesh>,
    waiting: Mutex<Vec<News>>,
    so_far: Mutex<SoFar>,
}

impl Board {
    pub(super) fn new(mesh: Arc<Mesh>) -> Self {
        Board { mesh, waiting: Mutex::default(), so_far: Mutex::default() }
    }

    /// Adds the measurements of an actor.
    pub(super) fn take(&self, news: News) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.iter().map(|news| news.bytes.len()).sum::<usize>() <= WAITING_BYTES_MAX {
            waiting.push(news);
        }
    }

    /// Reads the measurements.
    pub(super) fn look<R>(&self, look: impl FnOnce(&mut SoFar) -> R) -> R {
        let so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut self.read(so_far))
    }

    /// Reads the measurements, unless another thread does: a caller that must not wait tries again later.
    pub(super) fn glance<R>(&self, look: impl FnOnce(&mut SoFar) -> R) -> Option<R> {
        match self.so_far.try_lock() {
            Ok(so_far) => Some(look(&mut self.read(so_far))),
            Err(TryLockError::Poisoned(poisoned)) => Some(look(&mut self.read(poisoned.into_inner()))),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn read<'a>(&self, mut so_far: MutexGuard<'a, SoFar>) -> MutexGuard<'a, SoFar> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for News { actor, incarnation, at, bytes } in waiting {
            match meshsim_wire::decode_long(&bytes) {
                Ok(news) => so_far.take(actor, incarnation, at, news, &self.mesh),
                Err(error) => tracing::debug!("what {actor} tells cannot be read: {error}"),
            }
        }
        so_far
    }
}
