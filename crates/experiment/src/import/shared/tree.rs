//! A YAML or JSON text as a tree that knows where each of its parts stands.
//!
//! The importers read files that others wrote, and half of what such a file says is of no use to us. A tree can be
//! walked piece by piece, so that what was not taken is known ([`Fields`](super::reading::Fields)), and every
//! complaint names a line and a column. Derived `serde` structs give neither.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A longer text is refused before it is parsed. The largest real topology at hand has 40 KiB.
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Deeper nesting is refused; real files stay below ten.
const DEPTH_MAX: usize = 48;

/// A line and a column, both counted from 1; both 0 when unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) value: Value,
}

/// What a node says.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file. A key that stands twice was refused by the parser.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) at: At,
    pub(crate) name: String,
}

impl Value {
    /// What kind of value this is, for a complaint.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Parses one document. JSON is YAML, so this reads both. On failure: where, and what is wrong.
pub(crate) fn parse(text: &str) -> Result<Node, (At, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
        // What an alias repeats is copied into the tree, so the copies are bounded too.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map(|l| At { line: l.line(), column: l.column() }).unwrap_or_default();
        let message = error.without_snippet().to_string();
        // The position is ours to print, so the parser's own mention of it goes.
        let message = message.split(" at line ").next().unwrap_or_default().trim().to_owned();
        (at, message)
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node { at: at(&spanned), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Key { at: at(&spanned), name: spanned.value })
    }
}

fn at<T>(spanned: &Spanned<T>) -> At {
    At { line: spanned.referenced.line(), column: spanned.referenced.column() }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value as f64))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(value as f64))
            }

            fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
                Ok(Value::Number(value as f64))
            }

            fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
                Ok(Value::Number(value as f64))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Number(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(Value::Text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(node) = access.next_element()? {
                    list.push(node);
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    map.push(entry);
                }
                Ok(Value::Map(map))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_knows_its_place() {
        let root = parse("a: 1\nb:\n  - x: yes\n  - [1.5, null]\n").unwrap();
        let Value::Map(map) = &root.value else { panic!("{root:?}") };
        assert_eq!((map[0].0.at, map[0].1.at), (At { line: 1, column: 1 }, At { line: 1, column: 4 }));
        let Value::List(list) = &map[1].1.value else { panic!("{root:?}") };
        let Value::Map(inner) = &list[0].value else { panic!("{root:?}") };
        assert_eq!(inner[0].1.at, At { line: 3, column: 8 });
        assert!(matches!(&inner[0].1.value, Value::Text(text) if text == "yes"), "{inner:?}");
    }

    #[test]
    fn json_is_read_with_tabs_and_escapes() {
        let root = parse("{\n\t\"a\": [\n\t\t1,\n\t\t\"\\u00e9\\/\\ud83d\\ude00\"\n\t]\n}\n").unwrap();
        let Value::Map(map) = &root.value else { panic!("{root:?}") };
        let Value::List(list) = &map[0].1.value else { panic!("{root:?}") };
        assert!(matches!(&list[1].value, Value::Text(text) if text == "é/😀"), "{list:?}");
    }

    #[test]
    fn bombs_are_refused() {
        let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
        let deep_blocks: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        let laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
                      c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n\
                      e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\n";
        for bomb in [&deep, &deep_blocks, laughs] {
            assert!(parse(bomb).is_err());
        }
    }
}
