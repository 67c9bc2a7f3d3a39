//! The format of the file, by an example that has everything:
//!
//! ```yaml
#![doc = include_str!("format.yaml")]
//! ```

/// The JSON Schema of the experiment file, with a description of every field.
pub fn schema() -> serde_json::Value {
    serde_json::Value::Null
}
