//! The values that one key of the experiment takes: `services.geo.instances=1,2,4`,
//! `load.users.arrivals.poisson=100..1000/s:10`.

use meshsim_experiment::Override;
use serde::{Deserialize, Serialize};

/// Most values of one axis.
pub const VALUES_MAX: usize = 10_000;

/// A key of the file, and the values that it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Axis {
    text: String,
    /// Path of the key, as in an override.
    path: String,
    items: Vec<Item>,
}

/// A part of an axis between two commas.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    One(String),
    Range(Range),
}

/// All numbers between two bounds, both included.
#[derive(Clone, Debug, PartialEq)]
struct Range {
    from: f64,
    to: f64,
    /// Unit after each number: `/s`, `ms`, `%`, or none.
    unit: String,
    /// Number of values.
    count: usize,
    /// True if both bounds are whole numbers, and so are the values in between.
    is_whole: bool,
}

/// Reason why a text is not an axis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` varies nothing: {reason}")]
pub struct AxisError {
    text: String,
    reason: String,
}

impl Axis {
    /// Parses `path=values`. The values are separated by commas; commas inside brackets, braces and quotes do not
    /// count. Each value is YAML, as in an override, or a range: `1..4` (each whole number), `100..1000/s:10` (ten
    /// numbers at equal distances, the bounds included).
    ///
    /// # Errors
    /// If there is no `=`, a value is missing, a range is invalid, or there are more than [`VALUES_MAX`] values.
    pub fn parse(text: &str) -> Result<Self, AxisError> {
        let error = |reason: &str| AxisError { text: shortened(text), reason: reason.into() };
        // `Override` finds the end of the path, also with quotes.
        let one = Override::parse(text).map_err(|_| {
            error("write `path=value,value` or `path=from..to:count`, as in `services.geo.instances=1,2,4`")
        })?;
        let (path, values) = one.split();
        let items = split(values).into_iter().map(|value| item(value).map_err(|reason| error(&reason)));
        let items = items.collect::<Result<Vec<Item>, AxisError>>()?;
        let count: usize = items.iter().map(Item::count).fold(0, usize::saturating_add);
        if count > VALUES_MAX {
            return Err(error(&format!("it has {count} values, and {VALUES_MAX} are the most")));
        }
        Ok(Axis { text: text.to_owned(), path: path.to_owned(), items })
    }

    /// The text of the axis.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Path of the key.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// All values, in the order of the text.
    pub fn values(&self) -> Vec<String> {
        self.items.iter().flat_map(Item::values).collect()
    }

    /// The value at the fraction `share` of the axis. For a single range, any number between its bounds. Otherwise one
    /// of the values, each for an equal part of the axis.
    ///
    /// `share` is at least 0 and less than 1.
    pub fn at(&self, share: f64) -> String {
        match &self.items[..] {
            [Item::Range(range)] => range.at(share),
            _ => {
                let values = self.values();
                let index = (share * values.len() as f64) as usize;
                values[index.min(values.len() - 1)].clone()
            }
        }
    }
}

impl TryFrom<String> for Axis {
    type Error = AxisError;

    fn try_from(text: String) -> Result<Self, AxisError> {
        Axis::parse(&text)
    }
}

impl From<Axis> for String {
    fn from(axis: Axis) -> String {
        axis.text
    }
}

impl Item {
    fn count(&self) -> usize {
        match self {
            Item::One(_) => 1,
            Item::Range(range) => range.count,
        }
    }

    fn values(&self) -> Vec<String> {
        match self {
            Item::One(value) => vec![value.clone()],
            Item::Range(range) => (0..range.count).map(|index| range.value(index)).collect(),
        }
    }
}

impl Range {
    fn value(&self, index: usize) -> String {
        let last = self.count - 1;
        let number = match index {
            0 => self.from,
            _ if index == last => self.to,
            _ => self.from + (self.to - self.from) * index as f64 / last as f64,
        };
        self.written(number)
    }

    fn at(&self, share: f64) -> String {
        if self.is_whole {
            // Each whole number gets an equal part.
            let (low, high) = (self.from.min(self.to), self.from.max(self.to));
            let number = (low + (share * (high - low + 1.0)).floor()).min(high);
            return self.written(number);
        }
        self.written(self.from + (self.to - self.from) * share)
    }

    /// Formats a number with six significant digits: 0.3, not 0.30000000000000004.
    fn written(&self, number: f64) -> String {
        let rounded = if number == 0.0 || number.fract() == 0.0 {
            number
        } else {
            let scale = 10_f64.powi(5 - number.abs().log10().floor() as i32);
            (number * scale).round() / scale
        };
        format!("{rounded}{}", self.unit)
    }
}

/// Splits at the commas that are in no bracket and no quote.
fn split(values: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut start) = (0_usize, None, 0);
    let mut parts = Vec::new();
    for (at, c) in values.char_indices() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(&values[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&values[start..]);
    parts
}

fn item(text: &str) -> Result<Item, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a value is missing".into());
    }
    let Some((from, rest)) = text.split_once("..") else { return Ok(Item::One(text.to_owned())) };
    if text.starts_with(['[', '{', '"', '\'']) {
        return Ok(Item::One(text.to_owned()));
    }
    let (to, count) = match rest.rsplit_once(':') {
        Some((to, count)) => (to, Some(count)),
        None => (rest, None),
    };
    let (from, from_unit) = number(from.trim())?;
    let (to, unit) = number(to.trim())?;
    if !from_unit.is_empty() && from_unit != unit {
        return Err(format!("`{text}` goes from `{from_unit}` to `{unit}`: write one unit, at the end"));
    }
    let is_whole = from.fract() == 0.0 && to.fract() == 0.0;
    let count = match count {
        Some(count) => {
            let count = count.trim().parse::<usize>().ok().filter(|count| (2..=VALUES_MAX).contains(count));
            count.ok_or_else(|| format!("behind the `:` of `{text}` stands no whole number from 2 to {VALUES_MAX}"))?
        }
        None if is_whole && unit.is_empty() && (to - from).abs() < VALUES_MAX as f64 => (to - from).abs() as usize + 1,
        None => return Err(format!("say how many values `{text}` stands for, as in `{text}:10`")),
    };
    let is_whole = is_whole && unit.is_empty() && ((to - from).abs() as usize).is_multiple_of((count - 1).max(1));
    Ok(Item::Range(Range { from, to, unit: unit.to_owned(), count, is_whole }))
}

/// Splits a text into a number and its unit.
fn number(text: &str) -> Result<(f64, &str), String> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let found = text[..end].parse::<f64>().ok().filter(|number| number.is_finite());
    found
        .map(|number| (number, &text[end..]))
        .ok_or_else(|| format!("`{text}` is not an end of a range: write a number"))
}

fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        Axis::parse(text).unwrap().values()
    }

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!(values("a.b=1,2,4"), ["1", "2", "4"]);
        assert_eq!(values("a=1..4"), ["1", "2", "3", "4"]);
        assert_eq!(values("a=4..1"), ["4", "3", "2", "1"]);
        assert_eq!(values("a=100..1000/s:10")[..3], ["100/s", "200/s", "300/s"]);
        assert_eq!(values("a=0.1..0.3:3"), ["0.1", "0.2", "0.3"]);
        assert_eq!(values("a=1ms..2ms:2,5ms"), ["1ms", "2ms", "5ms"]);
        assert_eq!(values("a=1..100:5"), ["1", "25.75", "50.5", "75.25", "100"]);
    }

    #[test]
    fn commas_inside_of_brackets_and_quotes_do_not_split() {
        assert_eq!(values("a=[1,2],{b: [3,4], c: 5},\"x,y\""), ["[1,2]", "{b: [3,4], c: 5}", "\"x,y\""]);
    }

    #[test]
    fn a_path_with_quotes_ends_where_that_of_an_override_does() {
        let axis = Axis::parse("load.users.mix.\"rate=get\"=1,3").unwrap();
        assert_eq!((axis.path(), axis.values().len()), ("load.users.mix.\"rate=get\"", 2));
    }

    #[test]
    fn an_invalid_axis_is_refused_with_a_fix() {
        for (text, part) in [
            ("a.b", "write `path=value,value`"),
            ("a=1,,2", "a value is missing"),
            ("a=", "a value is missing"),
            ("a=0.1..0.3", "`0.1..0.3:10`"),
            ("a=1s..2ms:3", "one unit"),
            ("a=1..9:1", "from 2"),
            ("a=x..9:3", "not an end of a range"),
            ("a=1..1000000", "how many"),
            ("a=1..9999:9999,1..2", "are the most"),
        ] {
            let error = Axis::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_fraction_of_a_range_is_a_number_in_it_and_of_a_list_an_item() {
        let rate = Axis::parse("a=100..200/s:2").unwrap();
        assert_eq!(rate.at(0.25), "125/s");
        let whole = Axis::parse("a=1..4").unwrap();
        assert_eq!([0.0, 0.24, 0.25, 0.99].map(|share| whole.at(share)), ["1", "1", "2", "4"]);
        let list = Axis::parse("a=random,round_robin").unwrap();
        assert_eq!([0.1, 0.6].map(|share| list.at(share)), ["random", "round_robin"]);
    }
}
