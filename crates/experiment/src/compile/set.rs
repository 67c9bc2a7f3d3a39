//! Settings of services that operations change.

use meshsim_mesh::model::{ServiceId, Setting};

use super::{Names, nodes, service};
use crate::problem::{Reporter, all_of, nearest, shortened};
use crate::schema::{self, File};
use crate::section::{At, Field};
use crate::tree::{Key, Node, Value};

/// The service and its setting; `None` if something is wrong with it.
pub(super) fn compile(
    it: &schema::Set,
    file: &File,
    names: &Names<'_>,
    reporter: &mut Reporter,
) -> Option<(ServiceId, Setting)> {
    let parts: Vec<&str> = it.set.value.split('.').map(str::trim).collect();
    let ["services", name, key] = parts[..] else {
        let message = format!("`{}` is no setting of a service", shortened(&it.set.value));
        reporter.report(it.set.place, message).help("write `services.NAME.KEY`, as in `set: services.web.balancer`");
        return None;
    };
    let id = names.service(&At { value: name.to_owned(), place: it.set.place }, reporter)?;
    if !Setting::KEYS.contains(&key) {
        reporter
            .report(it.set.place, format!("`{}` cannot be set while the service runs", shortened(key)))
            .label(nearest(key, Setting::KEYS).map(|near| format!("did you mean `{near}`?")))
            .help(format!("the keys that can are {}", all_of(Setting::KEYS)));
        return None;
    }
    let (_, of_file) = file.services.value.entries.get(id.index())?;
    let new = alone(key, it, reporter)?;
    let mut zones = vec![];
    // Problems of nodes have been reported.
    nodes(file, &mut zones, &mut Reporter::default());
    let service = service::compile_service(&it.set, &with(key, new, of_file), (file, names, &zones), reporter);
    Some((id, Setting::of(key, &service)?))
}

/// A service that has this key alone; `none` stands for a service without it.
fn alone(key: &str, it: &schema::Set, reporter: &mut Reporter) -> Option<schema::Service> {
    let place = it.set.place;
    let map = |entries| Node { place, value: Value::Map(entries) };
    let named = |text: &str| Key { text: text.to_owned(), place, invented: false };
    let mut entries = vec![(named("endpoints"), map(vec![(named("any"), map(vec![]))]))];
    if !matches!(&it.to.0.value, Value::Scalar { text, .. } if text == "none") {
        entries.push((named(key), it.to.0.clone()));
    }
    schema::Service::decode(&map(entries), reporter)
}

/// A service of the file, with this key of the other.
fn with(key: &str, new: schema::Service, of_file: &schema::Service) -> schema::Service {
    let mut it = of_file.clone();
    match key {
        "balancer" => it.balancer = new.balancer,
        "zone_routing" => it.zone_routing = new.zone_routing,
        "panic_threshold" => it.panic_threshold = new.panic_threshold,
        "slow_start" => it.slow_start = new.slow_start,
        "split" => it.split = new.split,
        "subset" => it.subset = new.subset,
        "zone_weights" => it.zone_weights = new.zone_weights,
        "breaker" => it.breaker = new.breaker,
        "outlier_detection" => it.outlier_detection = new.outlier_detection,
        "mirror" => it.mirror = new.mirror,
        "rate_limit" => it.rate_limit = new.rate_limit,
        "limit" => it.limit = new.limit,
        _ => it.shed = new.shed,
    }
    it
}
