//! The page as one file: with all data of a stretch of time, and without a server.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::Time;
use meshsim_report::{count, plural};
use serde_json::{Value, json};

use super::answers::{Explorer, Refused};
use crate::error::Error;

/// Messages that a file holds, and its bytes.
const MESSAGES_MAX: usize = 200_000;
const BYTES_MAX: usize = 5_000_000;
/// Messages of which it holds causes and effects too: those of the requests that are listed, lost ones, and control
/// messages, as far as there is room.
const TOLD_MAX: usize = 600;

/// Writes the page with the messages in flight between two times.
pub(super) fn write(explorer: &Explorer, (from, to): (Time, Time)) -> Result<String, Error> {
    let window = (from.nanos(), to.nanos());
    explorer.wait();
    let smaller =
        || "choose a smaller window, as in `--window 80s..82s`; without -o the page has all of the run".to_owned();
    let (extent, index) = match explorer.window(window, MESSAGES_MAX)? {
        Ok(found) => found,
        Err(total) => {
            let why = format!(
                "{} are in this window, and a file holds {}",
                plural(total as u64, "message"),
                count(MESSAGES_MAX as u64)
            );
            return Err(Error::WrongInput(why, smaller()));
        }
    };
    let roots = explorer.listed_roots(window);
    let requests = explorer.drawn(&roots)?;
    let own = |name: &str| {
        let of = meshsim_report::waterfall::text::root(name, explorer.mesh())?;
        let those = index.messages.within(window.0, window.1).filter(|at| index.messages.root[*at] == of);
        Some(those.map(|at| index.messages.record[at]).collect::<Vec<u64>>())
    };
    let of_requests: BTreeMap<&String, Vec<u64>> =
        requests.keys().filter_map(|name| Some((name, own(name)?))).collect();
    let mut told: BTreeSet<u64> = of_requests.values().flatten().copied().collect();
    for value in requests.values() {
        told.extend(value["records"].as_array().into_iter().flatten().filter_map(Value::as_u64));
    }
    told.extend(extent.odd(TOLD_MAX.saturating_sub(told.len())));
    let told: Vec<u64> = told.into_iter().take(TOLD_MAX).collect();
    let records = explorer.records(&told)?;
    let steps = explorer.steps(window).map_err(|refused: Refused| refused.into_error())?;
    let mut run = explorer.whole();
    run["requests"] = explorer.requests(window);
    let answers = json!({
        "run": run,
        "extent": extent,
        "roots": of_requests,
        "requests": requests,
        "records": records.iter().map(|(record, told)| (record.to_string(), json!(told))).collect::<serde_json::Map<_, _>>(),
        "steps": steps,
    });
    let html = meshsim_page::explorer_file(&explorer.name, &answers.to_string());
    if html.len() > BYTES_MAX {
        let mb = |bytes: usize| format!("{:.1} MB", bytes as f64 / 1e6);
        let why = format!("the file would be of {}, and is to be of {} at most", mb(html.len()), mb(BYTES_MAX));
        return Err(Error::WrongInput(why, smaller()));
    }
    Ok(html)
}
