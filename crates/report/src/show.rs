//! Numbers for people, with the units of the experiment file.

use meshsim_actor::Span;
use meshsim_mesh::Mesh;
use meshsim_mesh::autoscale::Controller;
use meshsim_mesh::autoscale::hpa::Signal;
use meshsim_mesh::autoscale::keda::{Backlog, Keda};
use meshsim_mesh::measure::OperationKind;
use meshsim_mesh::model::{EndpointId, Service, ServiceId};

use crate::summary::OperationSummary;

/// A whole number, in groups of three: `12,345`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with its noun: `1 node`, `2,000 nodes`.
pub fn plural(n: u64, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A real number with about three significant digits and no trailing zeros: `0.8`, `12.3`, `1,234`.
pub fn number(x: f64) -> String {
    if !x.is_finite() {
        return "-".into();
    }
    let magnitude = x.abs();
    if magnitude >= 100.0 {
        let sign = if x < 0.0 { "-" } else { "" };
        return format!("{sign}{}", count(magnitude.round() as u64));
    }
    let digits = match magnitude {
        m if m >= 10.0 => 1,
        m if m >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{x:.digits$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if matches!(text, "" | "-0" | "-") { "0".into() } else { text.into() }
}

/// A share of one, as percent: `87.5%`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // Neither a few failures in a million nor a few missing may look like none.
    if percent > 0.0 && percent < 0.01 {
        "<0.01%".into()
    } else if percent < 100.0 && percent > 99.99 {
        ">99.99%".into()
    } else {
        let text = format!("{percent:.2}");
        format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Something a second: `200/s`.
pub fn rate(per_second: f64) -> String {
    format!("{}/s", number(per_second))
}

/// A length of time given in nanoseconds: `4.23ms`; `-` for none.
pub fn span(nanos: Option<u64>) -> String {
    nanos.map_or_else(|| "-".into(), |nanos| Span::from_nanos(nanos).to_string())
}

/// A time of a run, or a length of time, given in seconds: `12.3s`, `3d18h`.
pub fn seconds(secs: f64) -> String {
    Span::from_secs_f64(secs).to_string()
}

/// The same to the millisecond, where it is shorter than an hour: `12.345s`.
pub(crate) fn fine_seconds(secs: f64) -> String {
    if secs >= 3_600.0 {
        return seconds(secs);
    }
    let text = format!("{secs:.3}");
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A length of time to the nanosecond: `5.000001ms`.
pub(crate) fn exact_span(span: Span) -> String {
    let nanos = span.nanos();
    let (unit_ns, digits, unit) = match nanos {
        0 => return "0s".into(),
        1..1_000 => (1, 0, "ns"),
        1_000..1_000_000 => (1_000, 3, "us"),
        1_000_000..1_000_000_000 => (1_000_000, 6, "ms"),
        _ => (1_000_000_000, 9, "s"),
    };
    let parts = format!("{:0digits$}", nanos % unit_ns);
    let parts = parts.trim_end_matches('0');
    let point = if parts.is_empty() { "" } else { "." };
    format!("{}{point}{parts}{unit}", count(nanos / unit_ns))
}

/// Reason why instances of a service are unplaced.
pub fn unplaced_reason(service: &Service) -> String {
    let cores = number(service.cpu);
    match service.cpu {
        cpu if cpu > 0.0 => {
            format!("an instance of {} reserves {cores} cores, and no node alive has them free", service.name)
        }
        _ => format!("no node is alive to run instances of {}", service.name),
    }
}

/// An endpoint as it is written: `service.endpoint`.
pub(crate) fn endpoint_in_words(mesh: &Mesh, service: ServiceId, endpoint: EndpointId) -> String {
    let service = mesh.service(service);
    format!("{}.{}", service.name, service.endpoints[endpoint.index()])
}

/// With its name first, if it has one: `outage: zone b down`.
pub fn named(name: Option<&str>, what: &str) -> String {
    name.map_or_else(|| what.to_owned(), |name| format!("{name}: {what}"))
}

/// An operation in words: `extend payment to 12`, `scale rate by 2`, `deploy cart`, `rollout: update geo to 2`.
pub fn operation_in_words(operation: &OperationSummary) -> String {
    let to = match (operation.kind, operation.to) {
        (OperationKind::Scale, Some(by)) => format!(" by {}", number(by)),
        (_, Some(to)) => format!(" to {}", number(to)),
        (_, None) => String::new(),
    };
    let key = operation.key.as_ref().map_or(String::new(), |key| format!(".{key}"));
    let from = operation.drain.as_ref().map_or(String::new(), |drain| format!(" from {}", drain.node));
    named(operation.name.as_deref(), &format!("{} {}{key}{to}{from}", operation.kind.as_str(), operation.service))
}

/// A signal of an autoscaler, with its unit: `cpu 63 %`, `concurrency 12.5`.
pub(crate) fn signal_in_words(by: Option<&Controller>, signal: f64) -> String {
    let share = |what: &str| format!("{what} {:.0} %", 100.0 * signal);
    let number = |what: &str| format!("{what} {:.1}", signal);
    match by {
        Some(Controller::Hpa(hpa)) if hpa.signal == Signal::Cpu => share("cpu"),
        Some(Controller::Capacity(_)) => share("utilisation"),
        Some(Controller::Keda(Keda { signal: Backlog::Queue(_), .. })) => number("messages"),
        Some(Controller::Keda(_)) => number("requests"),
        Some(Controller::Hpa(_) | Controller::Knative(_)) | None => number("concurrency"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_a_person_would_write_them() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(count), ["0", "999", "1,000", "12,345,678"]);
        let shown = [0.0, 0.8, 1.3, 11.0, 12.34, 200.4, 1_234.5, -90.0, 0.00012, -0.000001].map(number);
        assert_eq!(shown, ["0", "0.8", "1.3", "11", "12.3", "200", "1,235", "-90", "0.0001", "0"]);
        assert_eq!([f64::NAN, f64::INFINITY].map(number), ["-", "-"]);
        let shares = [0.0, 0.5, 0.871_23, 1.0, 0.000_001, 0.999_999, 1.25].map(percent);
        assert_eq!(shares, ["0%", "50%", "87.12%", "100%", "<0.01%", ">99.99%", "125%"]);
        assert_eq!(rate(199.96), "200/s");
        let exact = [0, 7, 5_000_000, 5_000_001, 1_500, 1_234_000_000_001].map(|ns| exact_span(Span::from_nanos(ns)));
        assert_eq!(exact, ["0s", "7ns", "5ms", "5.000001ms", "1.5us", "1,234.000000001s"]);
        assert_eq!((span(Some(4_230_000)), span(None)), ("4.23ms".into(), "-".into()));
        let moments = [0.0, 60.0, 12.3, 1.0625, 3_599.5, 3_600.2, 324_060.0].map(fine_seconds);
        assert_eq!(moments, ["0s", "60s", "12.3s", "1.062s", "3599.5s", "1h", "3d18h1min"]);
    }
}
