//! What the run has measured so far, between the run's thread, which must not wait, and those who look.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use meshsim_mesh::Mesh;
use meshsim_net::News;
use meshsim_report::SoFar;

/// Most bytes that wait to be looked at; what comes then is left out, until the run is over.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// What the run has measured so far. What comes is read only when somebody looks.
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

    /// Takes in what an actor told.
    pub(super) fn take(&self, news: News) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.iter().map(|news| news.bytes.len()).sum::<usize>() <= WAITING_BYTES_MAX {
            waiting.push(news);
        }
    }

    /// Looks at it.
    pub(super) fn look<R>(&self, look: impl FnOnce(&mut SoFar) -> R) -> R {
        let so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut self.read(so_far))
    }

    /// Looks at it, unless somebody else does: who must not wait looks later.
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
