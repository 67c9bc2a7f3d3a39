//! `GET /api/openapi.json`: all that there is, for machines.
//!
//! The document is made of the table of paths ([`ROUTES`]) and of the types that are read and written there, whose
//! comments are its descriptions. The bodies that are texts of the experiment file's format have the file's schemas.

mod call;

use std::sync::LazyLock;

use actix_web::{HttpResponse, Responder};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::json::respond;
use crate::refusal::Error;
use crate::routes::ROUTES;

pub(crate) use call::{Call, Tag};

/// The definitions of the file's schema that are bodies here.
const OF_THE_FILE: [&str; 2] = ["Operation", "Fault"];

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The OpenAPI document (3.1) of every gateway of this meshsim.
pub fn openapi() -> &'static Value {
    &DOCUMENT
}

pub(crate) async fn serve() -> impl Responder {
    respond(&mut HttpResponse::Ok(), openapi())
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let error = schemas.subschema_for::<Error>();
    let mut paths = Map::new();
    for route in ROUTES {
        let mut call = Call::new(route, &mut schemas);
        (route.describe)(&mut call);
        let described = call.described();
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "meshsim gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A mesh that runs: ask it, look at it, steer it.",
            "description": "Served by the coordinator's process of a live run (`meshsim live`, `meshsim coordinator`). \
                Requests must name a host that the gateway knows (`--allow-host`), and pages of other origins are \
                refused. Requests that change the run need the operator token; reading needs none. Every error is JSON: \
                `{ \"error\": ..., \"help\": ... }`. A request that does not name its host exactly once is answered with \
                400. Where GET is, HEAD is, too. Lengths of time end in `_ns`, `_ms` or `_s`, times of the run in `_s`. \
                Objects may get further fields.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": Tag::ALL.map(|tag| json!({ "name": tag.name(), "description": tag.description() })),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "What stands in the file of `--token-file`; without one `meshsim ctl` on the same \
                        machine finds it.",
                },
            },
            "responses": call::refusals(&error),
            "schemas": components(schemas),
        },
    })
}

/// The schemas of all types that were described, and those of the file's format.
fn components(mut schemas: SchemaGenerator) -> Map<String, Value> {
    let mut all = schemas.take_definitions(true);
    let mut file = meshsim_experiment::schema();
    point_to_components(&mut file);
    let mut wanted: Vec<String> = OF_THE_FILE.map(String::from).into();
    while let Some(name) = wanted.pop() {
        if !all.contains_key(&name) {
            let definition = file["$defs"][&name].take();
            references(&definition, &mut wanted);
            all.insert(name, definition);
        }
    }
    all.sort_keys();
    all
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
    match value {
        Value::Object(fields) => fields.values().for_each(|it| references(it, found)),
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        Value::String(text) => found.extend(text.strip_prefix(COMPONENTS).map(str::to_owned)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_referred_to_is_there_and_nothing_else_is() {
        let document = openapi();
        let mut wanted = Vec::new();
        references(document, &mut wanted);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert!(wanted.len() > 50);
        for name in &wanted {
            assert!(schemas.get(name).is_some_and(Value::is_object), "{name} is not there");
        }
        for name in schemas.keys() {
            assert!(wanted.contains(name), "nothing refers to {name}");
        }
    }

    #[test]
    fn the_schemas_of_the_file_are_not_those_of_answers() {
        // Both have names of their own: the file's are taken over as they are.
        let file = meshsim_experiment::schema();
        for (name, schema) in openapi()["components"]["schemas"].as_object().unwrap() {
            let mut of_file = file["$defs"].get(name).cloned().unwrap_or_default();
            point_to_components(&mut of_file);
            assert!(of_file.is_null() || of_file == *schema, "{name} means two things");
        }
    }

    #[test]
    fn each_operation_has_a_name_of_its_own_and_every_field_of_an_answer_is_described() {
        let document = openapi();
        let mut names = std::collections::BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, it) in methods.as_object().unwrap() {
                assert!(names.insert(it["operationId"].as_str().unwrap()), "{method} {path}");
                assert!(it["summary"].as_str().is_some_and(|it| it.ends_with('.')), "{method} {path}");
                assert!(it["responses"].as_object().unwrap().keys().any(|it| it.starts_with('2')), "{method} {path}");
            }
        }
        let file = meshsim_experiment::schema();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            for (field, it) in schema["properties"].as_object().into_iter().flatten() {
                let is_described = it["description"].is_string() || file["$defs"].get(name).is_some();
                assert!(is_described, "{name}.{field} is not described");
            }
        }
    }
}
