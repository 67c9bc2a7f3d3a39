//! Names that the file gives to things.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::text;
use crate::problem::{Reporter, shortened};
use crate::section::Field;
use crate::tree::Node;

/// Maximum number of characters of a name.
pub const NAME_CHARS_MAX: usize = 100;

/// A name that others can refer to: letters, digits, `-` and `_`.
#[derive(Clone, Debug)]
pub(crate) struct Name(pub(crate) String);

impl Field for Name {
    const NAME: &'static str = "Name";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        let name = text(node, "a name", reporter)?;
        match name_error(name) {
            None => Some(Name(name.to_owned())),
            Some(help) => {
                reporter.report(node.place, format!("invalid name `{}`", shortened(name))).help(help);
                None
            }
        }
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A name: letters, digits, `-` and `_`.",
            "type": "string", "pattern": "^[\\p{L}\\p{N}_-]+$", "maxLength": NAME_CHARS_MAX
        })
    }
}

/// Reason why a name is invalid, if it is.
pub(crate) fn name_error(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.chars().any(|c| !(c.is_alphanumeric() || c == '-' || c == '_')) {
        Some("a name has letters, digits, `-` and `_`, and nothing else")
    } else if name.chars().count() > NAME_CHARS_MAX {
        Some("a name has at most 100 characters")
    } else {
        None
    }
}
