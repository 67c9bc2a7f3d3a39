//! Pauses between attempts to connect.

use std::time::Duration;

use meshsim_actor::Rng;

/// The first pause before dialling again; each further one is twice as long, with jitter.
const BACKOFF: Duration = Duration::from_millis(50);
/// Longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The pause after this many failures in a row: it doubles up to a cap, and is shortened by a random part of up to
/// half, so that processes do not reconnect all at once.
pub(crate) fn backoff(failures: u32, rng: &mut Rng) -> Duration {
    let doubled = BACKOFF * (1 << failures.saturating_sub(1).min(10));
    doubled.min(BACKOFF_MAX).mul_f64(1.0 - rng.unit() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_lose_a_peer_together_redial_at_different_times() {
        for failures in [1, 3, 30] {
            let most = (BACKOFF * (1 << (failures - 1).min(10))).min(BACKOFF_MAX);
            let mut waits: Vec<Duration> =
                (0..200).map(|boot_id| backoff(failures, &mut Rng::keyed(boot_id, 0, 1))).collect();
            waits.sort();
            assert!(waits[0] >= most / 2 && waits[199] <= most, "{waits:?}");
            // No twentieth of the span has more than a fifth of all attempts.
            let span = most / 40;
            let together = waits.iter().map(|wait| waits.iter().filter(|it| wait.abs_diff(**it) < span / 2).count());
            assert!(together.max() < Some(40), "{waits:?}");
        }
    }
}
