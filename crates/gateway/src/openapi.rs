//! `GET /api/openapi.json`: all that there is, for machines.
//!
//! `openapi.json` has everything but the bodies that are texts of the experiment file's format: their schemas are the
//! file's.

use std::sync::LazyLock;

use actix_web::{HttpResponse, Responder};
use serde_json::{Map, Value};

use crate::json::respond;

pub(crate) const DOCUMENT: &str = include_str!("openapi.json");

/// The definitions of the file's schema that are bodies here.
const OF_THE_FILE: [&str; 2] = ["Operation", "Fault"];

static COMPLETE: LazyLock<Value> = LazyLock::new(|| {
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    let mut file = meshsim_experiment::schema();
    point_to_components(&mut file);
    let schemas = &mut document["components"]["schemas"];
    let mut wanted: Vec<String> = OF_THE_FILE.map(String::from).into();
    while let Some(name) = wanted.pop() {
        if schemas.get(&name).is_none() {
            let definition = file["$defs"][&name].take();
            references(&definition, &mut wanted);
            schemas[&name] = definition;
        }
    }
    document
});

pub(crate) async fn openapi() -> impl Responder {
    respond(&mut HttpResponse::Ok(), &*COMPLETE)
}

const DEFS: &str = "#/$defs/";
const COMPONENTS: &str = "#/components/schemas/";

fn point_to_components(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(point_to_components),
        Value::Array(items) => items.iter_mut().for_each(point_to_components),
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(DEFS) {
                *text = format!("{COMPONENTS}{name}");
            }
        }
        _ => {}
    }
}

/// The components that a schema refers to.
fn references(value: &Value, found: &mut Vec<String>) {
    let each =
        |fields: &Map<String, Value>, found: &mut Vec<String>| fields.values().for_each(|it| references(it, found));
    match value {
        Value::Object(fields) => each(fields, found),
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        Value::String(text) => found.extend(text.strip_prefix(COMPONENTS).map(str::to_owned)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_whole() {
        let document = &*COMPLETE;
        assert_eq!(
            (&document["openapi"], &document["info"]["version"]),
            (&"3.1.0".into(), &env!("CARGO_PKG_VERSION").into())
        );
        let mut wanted = Vec::new();
        references(document, &mut wanted);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert!(wanted.len() > 50 && wanted.iter().all(|name| schemas.get(name).is_some_and(Value::is_object)));
        for name in schemas.keys() {
            assert!(wanted.contains(name), "nothing refers to {name}");
        }
    }
}
