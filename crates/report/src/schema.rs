//! JSON Schema of a summary, for programs that read it.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use crate::Summary;
use crate::compare::Comparison;

/// The JSON Schema (2020-12) of [`Summary`], with a description of every field.
pub fn schema() -> Value {
    titled::<Summary>("meshsim summary")
}

/// The JSON Schema (2020-12) of [`Comparison`], with a description of every field.
pub fn comparison_schema() -> Value {
    titled::<Comparison>("meshsim comparison")
}

fn titled<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that all references of a schema resolve, and that every property has a description.
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
        let comparison = comparison_schema();
        assert_described(&comparison, &comparison, "comparison");
        let schema = schema();
        assert_described(&schema, &schema, "summary");
        assert_eq!(schema["properties"]["operations"]["items"]["$ref"], "#/$defs/OperationSummary");
    }
}
