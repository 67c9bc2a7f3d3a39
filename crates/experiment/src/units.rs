//! Figures with their units, as people write them: `5ms`, `200/s`, `2 KiB`, `0.1%`.
//!
//! Each function parses one text. An error is a whole sentence, with a fix.

use meshsim_actor::Span;
use meshsim_mesh::model::Amount;
use meshsim_mesh::operation::TO_MAX;

/// The longest duration: a hundred years. (2^64 ns are 584.)
pub const DURATION_MAX: Span = Span::from_secs(100 * 365 * 86_400);

/// The highest rate: one request in a nanosecond.
pub const RATE_MAX: f64 = 1e9;

/// Reason why a text is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    /// The problem, in one sentence.
    pub message: String,
    /// The fix.
    pub help: String,
}

type Result<T> = std::result::Result<T, UnitError>;

fn error<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T> {
    Err(UnitError { message: message.into(), help: help.into() })
}

/// Probable meaning of a text, for a message: `1,000/s` is 1000 in groups of three, `1,5s` has a decimal comma, `10 per
/// minute` is a rate in words, `5MS` has its unit in other letters. `None` if none of these applies, or if the result
/// is invalid, too.
fn meant<T>(text: &str, units: &[&str], read: impl Fn(&str) -> Result<T>) -> Option<String> {
    let mut meant = text.trim().to_owned();
    if meant.contains(',') {
        let is_grouped = meant.split(',').skip(1).all(|group| {
            let digits = group.chars().take_while(char::is_ascii_digit).count();
            digits == 3
        });
        // One comma before three digits has two readings: the help only proposes one.
        meant = if is_grouped { meant.replace(',', "") } else { meant.replacen(',', ".", 1) };
    }
    for (words, sign) in [(" per ", "/"), ("minutes", "min"), ("minute", "min"), ("seconds", "s"), ("second", "s")] {
        meant = meant.replace(words, sign);
    }
    for (words, sign) in [("hours", "h"), ("hour", "h"), ("days", "d")] {
        meant = meant.replace(words, sign);
    }
    let unit_at = split(&meant).0.len();
    let (number, unit) = meant.split_at(unit_at);
    if let Some(known) = units.iter().find(|known| known.eq_ignore_ascii_case(unit.trim())) {
        meant = format!("{number}{known}");
    }
    let meant = meant.replace(" /", "/");
    (meant != text.trim() && read(&meant).is_ok()).then_some(meant)
}

/// An error whose help is the probable meaning, if there is one.
fn hinted<T>(text: &str, units: &[&str], result: Result<T>, read: impl Fn(&str) -> Result<T>) -> Result<T> {
    result.map_err(|error| match meant(text, units, read) {
        Some(meant) => UnitError { help: format!("did you mean `{meant}`?"), ..error },
        None => error,
    })
}

/// Splits `12.5 ms` into its number and its unit.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let is_number = |(at, c): (usize, char)| {
        // An exponent belongs to the number only with a digit after it: `1e3s`, but `1 eternity`.
        let rest = &text[at + c.len_utf8()..];
        let exponent =
            matches!(c, 'e' | 'E') && rest.trim_start_matches(['+', '-']).starts_with(|d: char| d.is_ascii_digit());
        let sign = matches!(c, '+' | '-') && (at == 0 || text[..at].ends_with(['e', 'E']));
        c.is_ascii_digit() || matches!(c, '.' | '_') || exponent || sign
    };
    let end = text.char_indices().find(|next| !is_number(*next)).map_or(text.len(), |(at, _)| at);
    (&text[..end], text[end..].trim())
}

/// A finite number of at least zero.
fn quantity(number: &str, text: &str, what: &str, example: &str) -> Result<f64> {
    let lower = text.trim().trim_start_matches(['+', '-', '.']).to_lowercase();
    if lower.starts_with("nan") || lower.starts_with("inf") {
        return error(format!("invalid {what} `{}`", text.trim()), format!("a {what} is finite, as in `{example}`"));
    }
    match number.replace('_', "").parse::<f64>() {
        Ok(n) if n < 0.0 => error(format!("a {what} is never negative"), format!("write it as in `{example}`")),
        Ok(n) if n.is_finite() => Ok(n),
        Ok(_) => error(format!("this {what} is too large"), format!("write it as in `{example}`")),
        Err(_) => error(
            format!("invalid {what} `{}`", crate::problem::shortened(text.trim())),
            format!("write it as in `{example}`"),
        ),
    }
}

const DURATION_UNITS: [(&str, f64); 12] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("sec", 1e9),
    ("m", 60e9),
    ("min", 60e9),
    ("h", 3600e9),
    ("d", 86_400e9),
    ("day", 86_400e9),
];

/// Nanoseconds in a unit of time.
fn time_unit(unit: &str) -> Option<f64> {
    DURATION_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ns)| *ns)
}

/// Reads a length of time as the file has it: `5ms`, `0.25 s`, `1m30s`, `0`.
///
/// # Errors
/// If it is none.
pub fn duration(text: &str) -> Result<Span> {
    let units = DURATION_UNITS.map(|(name, _)| name);
    hinted(text, &units, plain_duration(text), plain_duration)
}

fn plain_duration(text: &str) -> Result<Span> {
    const UNITS: &str = "ns, us, ms, s, m, h or d";
    let mut rest = text.trim();
    let mut ns = 0.0;
    loop {
        let (number, tail) = split(rest);
        let value = quantity(number, text, "duration", "5ms")?;
        let unit_end = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_end);
        ns += match time_unit(unit) {
            Some(factor) => value * factor,
            None if unit.is_empty() && value == 0.0 => 0.0,
            None if unit.is_empty() && after.is_empty() => {
                let help = format!("write `{number}ms` or `{number}s`; units are {UNITS}");
                return error(format!("`{}` has no unit", text.trim()), help);
            }
            None if unit.is_empty() => {
                let message = format!("invalid duration `{}`", crate::problem::shortened(text.trim()));
                return error(message, "write it as in `5ms` or `1m30s`");
            }
            None => {
                let message = format!("unknown time unit `{}`", crate::problem::shortened(tail));
                return error(message, format!("units are {UNITS}, as in `5ms`"));
            }
        };
        rest = after.trim_start();
        if rest.is_empty() {
            break;
        }
        if !rest.starts_with(|c: char| c.is_ascii_digit()) {
            return error(
                format!("invalid duration `{}`", crate::problem::shortened(text.trim())),
                "write it as in `5ms` or `1m30s`",
            );
        }
    }
    if ns > DURATION_MAX.nanos() as f64 {
        return error("this duration is too long", "at most 36500d, a hundred years");
    }
    Ok(Span::from_nanos((ns + 0.5) as u64))
}

/// `200/s`, `5/min`, as a number per second.
pub(crate) fn rate(text: &str) -> Result<f64> {
    hinted(text, &["/s", "/ms", "/min", "/h"], plain_rate(text), plain_rate)
}

fn plain_rate(text: &str) -> Result<f64> {
    let (number, tail) = split(text);
    let value = quantity(number, text, "rate", "200/s")?;
    let Some(unit) = tail.strip_prefix('/').map(str::trim) else {
        let message = if tail.is_empty() {
            format!("`{}` has no unit", text.trim())
        } else {
            format!("invalid rate `{}`", text.trim())
        };
        return error(message, format!("write `{number}/s`; a rate is a number `/s`, `/ms`, `/min` or `/h`"));
    };
    let Some(ns) = time_unit(unit) else {
        return error(format!("unknown time unit `{unit}`"), format!("write `{number}/s`, or with /ms, /min or /h"));
    };
    let rate = value * 1e9 / ns;
    if rate > RATE_MAX {
        return error("this rate is too high", "at most 1000000000/s, one in a nanosecond");
    }
    Ok(rate)
}

const SIZE_UNITS: [(&str, f64); 13] = [
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1048576.0),
    ("GiB", 1073741824.0),
    ("TiB", 1099511627776.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("kbit", 125.0),
    ("Mbit", 125e3),
    ("Gbit", 125e6),
];

fn bytes(number: &str, unit: &str, text: &str, example: &str) -> Result<f64> {
    const UNITS: &str = "B, kB, MB, GB, KiB, MiB or GiB";
    let value = quantity(number, text, "size", example)?;
    match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => Ok((value * factor).round()),
        None if unit.is_empty() && value == 0.0 => Ok(0.0),
        None if unit.is_empty() => error(
            format!("`{}` has no unit", text.trim()),
            format!("write `{number} B` or `{number} KiB`; units are {UNITS}"),
        ),
        None => error(
            format!("unknown size unit `{}`", crate::problem::shortened(unit)),
            format!("units are {UNITS}, as in `{example}`"),
        ),
    }
}

/// `512 B`, `2 KiB`, `1.5MB`: at most 2^32 - 1 bytes.
pub(crate) fn size(text: &str) -> Result<u32> {
    hinted(text, &SIZE_UNITS.map(|(name, _)| name), plain_size(text), plain_size)
}

fn plain_size(text: &str) -> Result<u32> {
    let (number, unit) = split(text);
    let bytes = bytes(number, unit, text, "2 KiB")?;
    if bytes > f64::from(u32::MAX) { error("this size is too large", "at most 4 GiB") } else { Ok(bytes as u32) }
}

/// `125 MiB/s`, `1 Gbit/s`, as bytes per second.
pub(crate) fn bandwidth(text: &str) -> Result<u64> {
    let (number, tail) = split(text);
    let Some(unit) = tail.strip_suffix("/s") else {
        return error(
            format!("invalid bandwidth `{}`", crate::problem::shortened(text.trim())),
            "a bandwidth is a size per second, as in `125 MiB/s` or `1 Gbit/s`",
        );
    };
    let rate = bytes(number, unit.trim(), text, "125 MiB/s")?;
    if !(1.0..=1e15).contains(&rate) {
        return error(
            "this bandwidth is out of range",
            "between 1 B/s and 1000 TB/s; a link that carries nothing is a partition",
        );
    }
    Ok(rate as u64)
}

/// `50%`: between 0 and 1. A number without `%` has two readings (1 is 1 % to one person and all to another), and is
/// refused unless it is 0.
pub(crate) fn share(text: &str) -> Result<f64> {
    let (number, unit) = split(text);
    if unit.is_empty()
        && let Ok(value @ 0.0..=1.0) = quantity(number, text, "share", "50%")
        && value > 0.0
    {
        return error(
            format!("`{}` has two readings here", text.trim()),
            format!("write `{}` or `{}`", percent(value), percent(value / 100.0)),
        );
    }
    ratio(text)
}

/// A percentage that may be above 100 %, as its factor: 1.5 for `150%`.
pub(crate) fn percentage(text: &str) -> Result<f64> {
    let (number, unit) = split(text);
    let value = quantity(number, text, "percentage", "150%")?;
    match unit {
        "%" if value <= 1e6 => Ok(value / 100.0),
        _ => error(format!("invalid percentage `{}`", text.trim()), "write it as in `150%`"),
    }
}

/// `99%` or `0.99`, where a quotient is compared with it and no other reading comes to mind.
pub(crate) fn ratio(text: &str) -> Result<f64> {
    let (number, unit) = split(text);
    let value = quantity(number, text, "share", "50%")?;
    let share = match unit {
        "%" => value / 100.0,
        "" if value <= 1.0 => value,
        "" => return error(format!("invalid share `{}`", text.trim()), format!("write `{number}%`")),
        _ => {
            return error(
                format!("invalid share `{}`", crate::problem::shortened(text.trim())),
                "write it as in `50%`",
            );
        }
    };
    if share > 1.0 { error("a share is at most 100%", "write it as in `50%`") } else { Ok(share) }
}

/// A share as a percentage, without the noise of the product: 0.07 * 100 is 7.000000000000001.
fn percent(share: f64) -> String {
    format!("{}%", (share * 1e11).round() / 1e9)
}

/// `2` instances, or `25%` of them, as Kubernetes' `maxSurge`.
pub(crate) fn amount(text: &str) -> Result<Amount> {
    let (number, unit) = split(text);
    if !unit.is_empty() {
        return share(text).map(Amount::Share);
    }
    match whole(text, 0, u64::from(TO_MAX)) {
        Ok(count) => Ok(Amount::Instances(count as u32)),
        Err(error) => match quantity(number, text, "number of instances", "1") {
            Ok(value) if value < 1.0 => Err(UnitError {
                message: format!("`{}` is neither a number of instances nor a percentage", text.trim()),
                help: format!("write `{}` for a share, or a whole number of instances", percent(value)),
            }),
            _ => Err(UnitError { help: format!("{} instances, or a percentage, as in `25%`", error.help), ..error }),
        },
    }
}

/// A finite number, of any sign.
pub(crate) fn number(text: &str) -> Result<f64> {
    match text.trim().replace('_', "").parse::<f64>() {
        Ok(n) if n.is_finite() => Ok(n),
        Ok(_) => error(format!("`{}` is not finite", text.trim()), "write a number, as in `0.5`"),
        Err(_) if matches!(text.trim().trim_start_matches(['+', '-']).to_lowercase().as_str(), ".nan" | ".inf") => {
            error(format!("`{}` is not finite", text.trim()), "write a number, as in `0.5`")
        }
        Err(_) => {
            error(format!("invalid number `{}`", crate::problem::shortened(text.trim())), "write a number, as in `0.5`")
        }
    }
}

/// A whole number in a range.
pub(crate) fn whole(text: &str, min: u64, max: u64) -> Result<u64> {
    let range = || format!("a whole number from {min} to {max}");
    let digits = text.trim().replace('_', "");
    match digits.parse::<i128>() {
        Ok(n) if n >= i128::from(min) && n <= i128::from(max) => Ok(n as u64),
        Ok(n) if n < i128::from(min) => error(format!("`{n}` is too small"), format!("write {}", range())),
        Ok(_) => error(format!("`{}` is too large", text.trim()), format!("write {}", range())),
        Err(_) if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) => {
            error(format!("`{}` is too large", crate::problem::shortened(text.trim())), format!("write {}", range()))
        }
        Err(_) => error(
            format!("invalid whole number `{}`", crate::problem::shortened(text.trim())),
            format!("write {}", range()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_in_another_notation_is_proposed_in_ours() {
        let help = |error: UnitError| error.help;
        assert_eq!(rate("1,000/s").map_err(help), Err("did you mean `1000/s`?".into()));
        assert_eq!(rate("10 per minute").map_err(help), Err("did you mean `10/min`?".into()));
        assert_eq!(rate("2.5/S").map_err(help), Err("did you mean `2.5/s`?".into()));
        assert_eq!(duration("1,5s").map_err(help), Err("did you mean `1.5s`?".into()));
        assert_eq!(duration("5MS").map_err(help), Err("did you mean `5ms`?".into()));
        assert_eq!(duration("2 minutes").map_err(help), Err("did you mean `2min`?".into()));
        assert_eq!(size("2kib").map_err(help), Err("did you mean `2KiB`?".into()));
        assert!(!help(duration("soon").unwrap_err()).contains("did you mean"));
    }

    #[test]
    fn durations_are_read_in_all_their_units() {
        let read = |text| duration(text).unwrap().nanos();
        assert_eq!(read("5ms"), 5_000_000);
        assert_eq!(read("0.25 ms"), 250_000);
        assert_eq!((read("20us"), read("20µs"), read("7ns")), (20_000, 20_000, 7));
        assert_eq!((read("1m30s"), read("2h"), read("1d")), (90_000_000_000, 7_200_000_000_000, 86_400_000_000_000));
        assert_eq!((read("0"), read("1e3s"), read("1_000s")), (0, 1_000_000_000_000, 1_000_000_000_000));
    }

    #[test]
    fn what_is_no_duration_says_why() {
        let why = |text: &str| duration(text).unwrap_err().message;
        assert_eq!(why("5"), "`5` has no unit");
        assert_eq!(why("-5ms"), "a duration is never negative");
        assert_eq!(why("NaN"), "invalid duration `NaN`");
        assert_eq!(why(".inf"), "invalid duration `.inf`");
        assert_eq!(why("5 sheep"), "unknown time unit `sheep`");
        assert_eq!(why("1e30s"), "this duration is too long");
        assert_eq!(why("1e999s"), "this duration is too large");
        assert_eq!(why("soon"), "invalid duration `soon`");
        assert_eq!(why(""), "invalid duration ``");
        assert_eq!(why("5ms or so"), "invalid duration `5ms or so`");
        assert_eq!(why("1 eternity"), "unknown time unit `eternity`");
    }

    #[test]
    fn rates_sizes_shares_and_bandwidths_are_read() {
        assert_eq!((rate("200/s"), rate("120 / min"), rate("1/ms")), (Ok(200.0), Ok(2.0), Ok(1000.0)));
        assert_eq!((size("1 KiB"), size("2kB"), size("0")), (Ok(1024), Ok(2000), Ok(0)));
        assert_eq!((share("50%"), share("0"), share("0.1 %")), (Ok(0.5), Ok(0.0), Ok(0.001)));
        assert_eq!((ratio("99%"), ratio("0.99")), (Ok(0.99), Ok(0.99)));
        assert_eq!((amount("1"), amount("25%")), (Ok(Amount::Instances(1)), Ok(Amount::Share(0.25))));
        assert_eq!((amount("0"), amount("100%")), (Ok(Amount::Instances(0)), Ok(Amount::Share(1.0))));
        assert_eq!((bandwidth("1 Gbit/s"), bandwidth("1 MiB/s")), (Ok(125_000_000), Ok(1_048_576)));
    }

    #[test]
    fn a_bare_number_with_two_readings_is_refused_with_both() {
        let table = [
            ("1", "write `100%` or `1%`"),
            ("0.5", "write `50%` or `0.5%`"),
            ("0.07", "write `7%` or `0.07%`"),
            ("0.001", "write `0.1%` or `0.001%`"),
            ("1.0", "write `100%` or `1%`"),
        ];
        for (text, help) in table {
            let error = share(text).unwrap_err();
            assert_eq!((error.message, error.help.as_str()), (format!("`{text}` has two readings here"), help));
        }
        let error = amount("0.25").unwrap_err();
        assert_eq!(error.message, "`0.25` is neither a number of instances nor a percentage");
        assert_eq!(error.help, "write `25%` for a share, or a whole number of instances");
        assert_eq!(
            amount("1.5").unwrap_err().help,
            "write a whole number from 0 to 1000000 instances, or a percentage, as in `25%`"
        );
        assert!(amount("101%").is_err() && amount("-1").is_err() && amount("2 pods").is_err());
    }

    #[test]
    fn what_is_none_says_what_would_be_right() {
        assert_eq!(rate("200").unwrap_err().help, "write `200/s`; a rate is a number `/s`, `/ms`, `/min` or `/h`");
        assert_eq!(size("12").unwrap_err().message, "`12` has no unit");
        assert_eq!(share("50").unwrap_err().help, "write `50%`");
        assert_eq!(share("101%").unwrap_err().message, "a share is at most 100%");
        assert_eq!(whole("1e3", 0, 10).unwrap_err().message, "invalid whole number `1e3`");
        assert_eq!(whole("1000000000000", 1, 10).unwrap_err().help, "write a whole number from 1 to 10");
        assert_eq!(whole(&"9".repeat(80), 1, 10).unwrap_err().help, "write a whole number from 1 to 10");
        assert!(
            size("5 GiB").is_err()
                && rate("1e300/ns").is_err()
                && number("nan").is_err()
                && bandwidth("0 B/s").is_err()
        );
    }
}
