//! Settings of services that operations change.

use meshsim_mesh::model::{ServiceId, Setting};
use meshsim_mesh::policy::outlier::Outliers;

use super::{Names, nodes, policy, service};
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
    if key == AUTOSCALE {
        return Some((id, switched(it, of_file, reporter)?));
    }
    let mut service = of_file.clone();
    match alone(key, it, reporter)? {
        Alone::Service(new) => put(key, *new, &mut service),
        Alone::Call(call) => return Some((id, policy::changed(key, &call, names, reporter)?)),
    }
    let mut zones = vec![];
    // Problems of nodes have been reported.
    nodes::compile(file, &mut zones, &mut Reporter::default());
    let compiled = service::compile_service(&it.set, &service, (file, names, &zones), reporter);
    let mut setting = Setting::of(key, &compiled)?;
    if let Setting::PanicThreshold(_, left) = &mut setting {
        // It holds for outlier detection, too, also where that is only set later.
        let of_outliers = service.panic_threshold.as_ref().map_or(Outliers::default().panic_threshold, |it| it.0);
        left.get_or_insert(of_outliers);
    }
    Some((id, setting))
}

/// The key of an autoscaler, which is switched on and off, and has its settings from the file.
const AUTOSCALE: &str = "autoscale";

fn switched(it: &schema::Set, service: &schema::Service, reporter: &mut Reporter) -> Option<Setting> {
    if service.autoscale.is_none() {
        reporter
            .report(it.set.place, "the service has no autoscaler")
            .help("give the service `autoscale`; an operation switches it `off` and `on`");
        return None;
    }
    match &it.to.0.value {
        Value::Scalar { text, .. } if text == "on" => Some(Setting::Autoscale(true)),
        Value::Scalar { text, .. } if text == "off" => Some(Setting::Autoscale(false)),
        _ => {
            let message = format!("an autoscaler is switched on or off, found {}", it.to.0.described());
            reporter.report(it.to.0.place, message).help("write `to: off`, or `to: on`");
            None
        }
    }
}

/// A section of a service, or of a call, that contains only the key of a `set`.
enum Alone {
    Service(Box<schema::Service>),
    /// A call of the service.
    Call(Box<schema::CallInFull>),
}

/// Keys that belong to calls, and not to the service itself.
const OF_CALLS: [&str; 5] = ["timeout", "retries", "retry", "hedge", "fallback"];

/// Decodes the value as a section with this key alone; `none` is a section without it.
fn alone(key: &str, it: &schema::Set, reporter: &mut Reporter) -> Option<Alone> {
    let place = it.set.place;
    let map = |entries| Node { place, value: Value::Map(entries) };
    let named = |text: &str| Key { text: text.to_owned(), place, invented: false };
    let is_call = OF_CALLS.contains(&key);
    let mut entries = match is_call {
        true => vec![(named("to"), Node::scalar("any", place))],
        false => vec![(named("endpoints"), map(vec![(named("any"), map(vec![]))]))],
    };
    let is_none = matches!(&it.to.0.value, Value::Scalar { text, .. } if text == "none");
    // A call has a timeout unless the file says `none`, so `none` is written out.
    if !is_none || key == "timeout" {
        entries.push((named(key), it.to.0.clone()));
    }
    let alone = map(entries);
    Some(match is_call {
        true => Alone::Call(Box::new(schema::CallInFull::decode(&alone, reporter)?)),
        false => Alone::Service(Box::new(schema::Service::decode(&alone, reporter)?)),
    })
}

/// Copies the field that a key names from one service to another.
macro_rules! put {
    ($key:ident, $from:ident, $to:ident: $($field:ident)*) => {
        match $key {
            $(stringify!($field) => $to.$field = $from.$field,)*
            _ => unreachable!("`{}` is a key of `Setting::KEYS`, of which a test sets each", $key),
        }
    };
}

fn put(key: &str, from: schema::Service, to: &mut schema::Service) {
    put!(key, from, to: balancer zone_routing panic_threshold slow_start split subset zone_weights breaker
        connections outlier_detection mirror rate_limit limit shed);
}
