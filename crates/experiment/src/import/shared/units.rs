//! Numbers with units: as other tools write them, and as our own file does.

use meshsim_actor::Span;

/// Go's `time.ParseDuration`: `1.5s`, `2m30s`, `100us`, `0`. Nothing below zero.
pub(crate) fn parse_span(text: &str) -> Option<Span> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Span::ZERO);
    }
    let mut nanos = 0.0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        nanos += value
            * match rest[..letters].trim() {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    // Ten years: beyond that a file is wrong rather than patient.
    (nanos <= 3.2e17).then(|| Span::from_nanos(nanos.round() as u64))
}

/// A span in the largest unit that is at least one of it, without loss: `1.5ms`, `250us`, `90s`.
pub(crate) fn show_span(span: Span) -> String {
    let nanos = span.nanos();
    let (unit, name) = match nanos {
        0 => return "0s".into(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (whole, part) = (nanos / unit, nanos % unit);
    if part == 0 {
        return format!("{whole}{name}");
    }
    let width = unit.ilog10() as usize;
    let part = format!("{part:0width$}");
    format!("{whole}.{}{name}", part.trim_end_matches('0'))
}

/// A share: `0.5%`, or a plain number between 0 and 1.
pub(crate) fn parse_share(text: &str) -> Option<f64> {
    let text = text.trim();
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse::<f64>().ok()?,
    };
    (0.0..=1.0).contains(&value).then_some(value)
}

/// A share as a percentage of at most 9 digits after the point.
pub(crate) fn show_share(share: f64) -> String {
    format!("{}%", show_number(share * 100.0))
}

/// A number of at most 9 digits after the point, without needless ones.
pub(crate) fn show_number(value: f64) -> String {
    let text = format!("{value:.9}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" { "0".into() } else { text.into() }
}

/// Docker's `units.RAMInBytes`: `16k`, `10 MB`, `1KiB`; every prefix is a power of 1024, with or without `i`.
pub(crate) fn parse_binary_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let value: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start();
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some((value * 1024f64.powi(power)) as u64)
}

/// A size in the largest binary unit that divides it: `1 KiB`, `11000 B`.
pub(crate) fn show_size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size)) {
        Some((name, size)) => format!("{} {name}", bytes / size),
        None => format!("{bytes} B"),
    }
}

/// Cores as Kubernetes writes them: `500m`, `0.5`, `2`.
pub(crate) fn parse_cores(text: &str) -> Option<f64> {
    let text = text.trim();
    let value = match text.strip_suffix('m') {
        Some(milli) => milli.parse::<f64>().ok()? / 1000.0,
        None => text.parse::<f64>().ok()?,
    };
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// A number with its noun: `1 call`, `12 calls`.
pub(crate) fn many(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_go_does_and_shown_without_loss() {
        for (text, nanos, shown) in [
            ("5ms", 5_000_000, "5ms"),
            ("0.5ms", 500_000, "500us"),
            ("1h2m3.5s", 3_723_500_000_000, "3723.5s"),
            ("100µs", 100_000, "100us"),
            ("0", 0, "0s"),
            ("1.234567s", 1_234_567_000, "1.234567s"),
        ] {
            let span = parse_span(text).unwrap();
            assert_eq!((span.nanos(), show_span(span).as_str()), (nanos, shown));
        }
        for text in ["", "5", "ms", "5 parsecs", "-5ms", "1e9s", "99999999999h", "5ms 3"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_docker_does() {
        for (text, bytes, shown) in [
            ("1 KB", 1024, "1 KiB"),
            ("128", 128, "128 B"),
            ("16k", 16384, "16 KiB"),
            ("1.5MiB", 1_572_864, "1536 KiB"),
        ] {
            let size = parse_binary_size(text).unwrap();
            assert_eq!((size, show_size(size).as_str()), (bytes, shown));
        }
        assert_eq!(parse_binary_size("many"), None);
        assert_eq!(parse_binary_size("-1"), None);
    }

    #[test]
    fn shares_and_cores_keep_their_digits() {
        assert_eq!(parse_share("0.01%").map(show_share).as_deref(), Some("0.01%"));
        assert_eq!(parse_share("1").map(show_share).as_deref(), Some("100%"));
        assert_eq!(parse_share("101%"), None);
        assert_eq!(parse_share("NaN"), None);
        assert_eq!(parse_cores("250m"), Some(0.25));
        assert_eq!(parse_cores("inf"), None);
    }
}
