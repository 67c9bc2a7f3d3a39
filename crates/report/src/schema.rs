//! What a summary looks like, for programs that read it.

use schemars::SchemaGenerator;
use serde_json::Value;

use crate::Summary;

/// The JSON Schema (2020-12) of [`Summary`], with a description of every field.
pub fn schema() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<Summary>();
    schema.insert("title".into(), "meshsim summary".into());
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that a schema refers to is there, and every property says what it is.
    fn assert_described(node: &Value, root: &Value, path: &str) {
        if let Some(reference) = node["$ref"].as_str() {
            assert!(root.pointer(reference.trim_start_matches('#')).is_some(), "{path}: {reference}");
        }
        for (name, property) in node["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(property["description"].is_string(), "{path} is not described");
            assert_described(property, root, &path);
        }
        for (name, definition) in node["$defs"].as_object().into_iter().flatten() {
            assert_described(definition, root, name);
        }
    }

    #[test]
    fn every_field_is_described() {
        let schema = schema();
        assert_described(&schema, &schema, "summary");
        assert_eq!(schema["properties"]["operations"]["items"]["$ref"], "#/$defs/OperationSummary");
    }
}
