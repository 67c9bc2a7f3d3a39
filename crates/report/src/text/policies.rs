//! Actions of the policies of callers and of instances.

use meshsim_mesh::policy::PolicyEvent;

use super::{ROWS_MAX, more};
use crate::show::count;
use crate::summary::Summary;
use crate::table::{Paint, Table};

/// The events of policies by edge, those of loads first, then those of instances. Empty if there were none.
pub(super) fn policies(summary: &Summary, paint: Paint) -> String {
    let targets = summary.loads.iter().flat_map(|load| load.targets.iter().map(move |it| (load, it)));
    let of_loads = targets.map(|(load, it)| (load.name.as_str(), it.target.as_str(), &it.requests.policies));
    let of_services = summary.calls.iter().map(|it| (it.from.as_str(), it.to.as_str(), &it.policies));
    let of_instances = summary.services.iter().map(|it| ("", it.name.as_str(), &it.policies));
    let mut table = Table::new(["<from", "<to", "<what", "times"]);
    let mut rows = 0;
    for (from, to, events) in of_loads.chain(of_services).chain(of_instances) {
        for (key, times) in events {
            rows += 1;
            if rows > ROWS_MAX {
                continue;
            }
            let event = PolicyEvent::ALL.into_iter().find(|event| event.as_str() == key);
            let what = event.map_or(key.as_ref(), |event| event.in_words());
            table.row([from.into(), to.into(), what.into(), count(*times).into()]);
        }
    }
    if rows == 0 { String::new() } else { table.fitted(paint) + &more(rows, ROWS_MAX, paint) }
}
