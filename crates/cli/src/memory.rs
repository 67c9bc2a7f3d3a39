//! Memory that a run needs, and that this machine has: what cannot fit is refused before time is spent on it, as an
//! allocation that fails ends the program.

use std::fs;

use meshsim_experiment::Experiment;
use meshsim_experiment::check::{ResourceEstimate, check};
use meshsim_report::number;

use crate::error::Error;
use crate::screen::Screen;

/// Share of the available memory from which on a run is worth a warning.
const WARN_SHARE: f64 = 0.5;

/// A number of bytes, for people.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1e9 => format!("{} GB", number(bytes / 1e9)),
        bytes => format!("{} MB", number(bytes / 1e6)),
    }
}

/// Memory in bytes that a program may still use; `None` if the system does not say.
fn available() -> Option<f64> {
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo(&text));
    let number = |file| fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<f64>().ok());
    // Control groups, version 2 and 1; in a container they are those of the container.
    let of_group = |max, used| Some((number(max)? - number(used)?).max(0.0));
    let of_groups = [
        of_group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        of_group("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ];
    let of_process = rustix::process::getrlimit(rustix::process::Resource::As).current.map(|bytes| bytes as f64);
    of_groups.into_iter().chain([of_machine, of_process]).flatten().min_by(f64::total_cmp)
}

/// `MemAvailable`, in bytes.
fn meminfo(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

/// Refuses a run that this machine has no memory for, and warns of one that needs most of it.
///
/// # Errors
/// If the run is expected to need more than is available.
pub(crate) fn assure(experiment: &Experiment, screen: &Screen) -> Result<(), Error> {
    assure_estimate(check(experiment).resources, available(), screen)
}

/// [`assure`], for findings that are there already.
///
/// # Errors
/// If the run is expected to need more than is available.
pub(crate) fn assure_here(needed: ResourceEstimate, screen: &Screen) -> Result<(), Error> {
    assure_estimate(needed, available(), screen)
}

/// [`assure`], for several runs of an experiment at once.
///
/// # Errors
/// If together they are expected to need more than is available.
pub(crate) fn assure_several(experiment: &Experiment, at_once: usize, screen: &Screen) -> Result<(), Error> {
    if at_once <= 1 {
        return assure(experiment, screen);
    }
    let each = check(experiment).resources;
    let needed = ResourceEstimate { memory_bytes: each.memory_bytes * at_once as f64, ..each };
    let who = format!("{at_once} runs at once need");
    assure_these(&who, "`--jobs 1` runs one after the other", needed, available(), screen)
}

fn assure_estimate(needed: ResourceEstimate, available: Option<f64>, screen: &Screen) -> Result<(), Error> {
    let help = "fewer nodes and instances need less; `meshsim run --no-memory-check` begins it all the same";
    assure_these("the run needs", help, needed, available, screen)
}

fn assure_these(
    who: &str,
    help: &str,
    needed: ResourceEstimate,
    available: Option<f64>,
    screen: &Screen,
) -> Result<(), Error> {
    let Some(available) = available else { return Ok(()) };
    let why = format!("{who} about {} of memory, and {} are available", bytes(needed.memory_bytes), bytes(available));
    if needed.memory_bytes > available {
        return Err(Error::WrongInput(why, help.into()));
    }
    if needed.memory_bytes > WARN_SHARE * available {
        screen.warn(&why);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_available_memory_is_read_from_the_list_of_the_kernel() {
        assert_eq!(meminfo("MemTotal: 9 kB\nMemAvailable:   12345 kB\n"), Some(12_345.0 * 1024.0));
        assert_eq!(meminfo("MemTotal: 9 kB\n"), None);
        assert_eq!(meminfo("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn only_a_run_that_cannot_fit_is_refused() {
        let screen = Screen::open();
        let needed = |memory_bytes| ResourceEstimate { events: 1.0, memory_bytes };
        assert!(assure_estimate(needed(8e9), Some(8.1e9), &screen).is_ok());
        assert!(assure_estimate(needed(8e9), None, &screen).is_ok());
        let refused = assure_estimate(needed(8.2e9), Some(8.1e9), &screen).unwrap_err().to_string();
        assert_eq!(refused, "the run needs about 8.2 GB of memory, and 8.1 GB are available");
    }
}
