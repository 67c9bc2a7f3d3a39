//! Usual range of the failures and latencies of a run: that of its quiet windows, in which no fault and no operation is
//! at work, nor was within the last five seconds.
//!
//! A fault can leave a run worse than before although it has ended, such as a retry storm that its trigger outlives. So
//! the quiet windows after a fault count only if they are like those before it, or if the load is another.

use super::{ABOVE, AFTER_S, Disturbance, Window};

/// With fewer quiet windows there is no range.
const WINDOWS_MIN: usize = 20;
/// Quiet windows before a fault with which those after it are compared, at least.
const BEFORE_MIN: usize = 5;

/// Usual range outside of faults and operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// The greatest share of failures.
    pub failed_share_max: f64,
    /// The median of the windows' latencies, in nanoseconds.
    pub tail_ns: f64,
    /// Their greatest.
    pub tail_max_ns: f64,
}

/// Quiet windows without a disturbed one between them.
#[derive(Default)]
struct Quiet<'a> {
    windows: Vec<&'a Window>,
    /// A fault was at work since the quiet windows before.
    is_after_fault: bool,
}

impl Usual {
    pub(super) fn new(windows: &[Window], disturbances: &[Disturbance]) -> Option<Self> {
        let all = quiet(windows, disturbances);
        if all.iter().map(|it| it.windows.len()).sum::<usize>() < WINDOWS_MIN {
            return None;
        }
        let mut usual: Vec<&Window> = Vec::new();
        let mut is_in_doubt = false;
        for it in all {
            is_in_doubt |= it.is_after_fault;
            if !(is_in_doubt && is_worse(&it.windows, &usual)) {
                is_in_doubt = false;
                usual.extend(it.windows);
            }
        }
        Some(Usual::of(&usual))
    }

    fn of(windows: &[&Window]) -> Self {
        Usual {
            failed_share_max: at(windows.iter().map(|it| it.failed_share()), 0.99),
            tail_ns: median(windows, Window::tail),
            tail_max_ns: at(windows.iter().filter_map(|it| it.tail()), 0.99),
        }
    }

    pub(super) fn is_left_by(&self, window: &Window) -> bool {
        self.is_exceeded_by(window.failed_share(), window.tail())
    }

    /// True if one of these is beyond the range.
    fn is_exceeded_by(&self, failed_share: f64, tail_ns: Option<f64>) -> bool {
        let is_slow = |ns: f64| self.tail_max_ns > 0.0 && ns > self.tail_max_ns * ABOVE;
        failed_share > self.failed_share_max * ABOVE || tail_ns.is_some_and(is_slow)
    }
}

/// The quiet windows in which requests were due.
fn quiet<'a>(windows: &'a [Window], disturbances: &[Disturbance]) -> Vec<Quiet<'a>> {
    let mut all = vec![Quiet::default()];
    for window in windows.iter().filter(|it| it.offered > 0) {
        let is_in = |by: &&Disturbance| window.to_s > by.from_s && window.from_s < by.to_s + AFTER_S;
        let mut at_work = disturbances.iter().filter(is_in).peekable();
        if at_work.peek().is_some() && all.last().is_some_and(|it| !it.windows.is_empty()) {
            all.push(Quiet::default());
        }
        let Some(last) = all.last_mut() else { continue };
        match at_work.peek() {
            Some(_) => last.is_after_fault |= at_work.any(|by| by.is_fault),
            None => last.windows.push(window),
        }
    }
    all
}

/// True if most of these windows are beyond the range of those before, at the same load.
fn is_worse(after: &[&Window], before: &[&Window]) -> bool {
    let due = |windows: &[&Window]| median(windows, |it| Some(it.offered as f64 / (it.to_s - it.from_s)));
    let is_same = |a: f64, b: f64| a <= b * ABOVE && b <= a * ABOVE;
    before.len() >= BEFORE_MIN
        && !after.is_empty()
        && is_same(due(after), due(before))
        && Usual::of(before)
            .is_exceeded_by(median(after, |it| Some(it.failed_share())), Some(median(after, Window::tail)))
}

fn median(windows: &[&Window], of: impl Fn(&Window) -> Option<f64>) -> f64 {
    at(windows.iter().filter_map(|it| of(it)), 0.5)
}

/// The value at this share of all, 0 if there is none.
fn at(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}
