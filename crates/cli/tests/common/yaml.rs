//! YAML as JSON values, by its core schema: what a file means to a program that reads it.

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

enum Open {
    List(Vec<Value>),
    /// The entries, and the key whose value comes next.
    Map(Map<String, Value>, Option<String>),
}

/// The documents of a text without anchors, aliases and tags.
#[track_caller]
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let (mut open, mut documents) = (Vec::new(), Vec::new());
    for event in Parser::new_from_str(text) {
        let (event, _) = event.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text),
            Event::Scalar(text, ..) => Value::String(text.into_owned()),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop().unwrap() {
                Open::List(items) => Value::Array(items),
                Open::Map(entries, _) => Value::Object(entries),
            },
            Event::Alias(_) => panic!("an alias\n{text}"),
            _ => continue,
        };
        match open.last_mut() {
            None => documents.push(value),
            Some(Open::List(items)) => items.push(value),
            Some(Open::Map(entries, key)) => match key.take() {
                None => *key = Some(value.as_str().unwrap_or_else(|| panic!("{value} is a key\n{text}")).into()),
                Some(key) => assert!(entries.insert(key.clone(), value).is_none(), "{key} is there twice\n{text}"),
            },
        }
    }
    documents
}

/// A scalar without quotes. Neither format has floats.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        _ => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}
