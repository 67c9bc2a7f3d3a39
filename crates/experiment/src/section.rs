//! Typed sections from a tree, and a JSON Schema from the same tables.
//!
//! [`section!`] makes a struct, its decoder and its schema from one list of documented fields, so that decoder and
//! schema always have the same keys. Decoding continues after a problem: a wrong value is reported and left out, so
//! that all problems of a file are reported at once. The result counts only if nothing was reported.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::problem::{Location, Reporter, nearest, one_of, shortened};
use crate::tree::{Key, Node, Value};

/// Something that a value of the file can be.
pub(crate) trait Field: Sized {
    /// Its name among the schema's definitions; "" for one that is written out where it is used.
    const NAME: &'static str;
    /// True if nothing at all may stand for it: an empty list, a section of defaults. An empty figure is a slip.
    const MAY_BE_EMPTY: bool = false;
    /// Reads it. `None`: it is wrong, and that has been reported.
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self>;
    /// JSON Schema of the values.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// Carries a [`Field`]'s schema into schemars, which sees to definitions that refer to themselves.
pub(crate) struct As<T>(PhantomData<T>);

impl<T: Field> JsonSchema for As<T> {
    fn inline_schema() -> bool {
        T::NAME.is_empty()
    }
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

pub(crate) fn schema_of<T: Field>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<As<T>>()
}

/// A value with its location, for later checks against the rest of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Location,
}

impl<T: Field> Field for At<T> {
    const NAME: &'static str = T::NAME;
    const MAY_BE_EMPTY: bool = T::MAY_BE_EMPTY;
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        Some(At { value: T::decode(node, reporter)?, place: node.place })
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

/// A large section that few have.
impl<T: Field> Field for Box<T> {
    const NAME: &'static str = T::NAME;
    const MAY_BE_EMPTY: bool = T::MAY_BE_EMPTY;
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        T::decode(node, reporter).map(Box::new)
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

/// A list without its invalid items.
#[derive(Clone, Debug)]
pub(crate) struct Many<T> {
    pub(crate) items: Vec<T>,
    /// True if nothing was left out.
    pub(crate) complete: bool,
}

impl<T: Field> Field for Many<T> {
    const NAME: &'static str = "";
    const MAY_BE_EMPTY: bool = true;
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        let Value::List(list) = &node.value else {
            if !node.is_null() {
                reporter
                    .report(node.place, format!("expected a list, found {}", node.described()))
                    .help("write `[a, b]`, or one item a line, each after `- `");
            }
            return Some(Many { items: Vec::new(), complete: node.is_null() });
        };
        let items: Vec<T> = list.iter().filter_map(|item| T::decode(item, reporter)).collect();
        let complete = items.len() == list.len();
        Some(Many { items, complete })
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = schema_of::<T>(generator);
        json_schema!({ "type": "array", "items": items })
    }
}

impl<T: Field> Field for Vec<T> {
    const NAME: &'static str = "";
    const MAY_BE_EMPTY: bool = true;
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        Many::decode(node, reporter).map(|many| many.items)
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        Many::<T>::schema(generator)
    }
}

/// One, or a list of several.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMore<T>(pub(crate) Vec<T>);

impl<T: Field> Field for OneOrMore<T> {
    const NAME: &'static str = "";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        match node.value {
            Value::List(_) => Vec::decode(node, reporter).map(OneOrMore),
            _ => Some(OneOrMore(vec![T::decode(node, reporter)?])),
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let one = schema_of::<T>(generator);
        let more = Vec::<T>::schema(generator);
        json_schema!({ "anyOf": [one, more] })
    }
}

/// A map whose keys are names of the user's own, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Named<T> {
    pub(crate) entries: Vec<(At<String>, T)>,
    /// Names whose values are invalid: a reference to one of them is not reported.
    pub(crate) broken: Vec<String>,
}

impl<T> Named<T> {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.value.as_str())
    }
}

impl<T: Field> Field for Named<T> {
    const NAME: &'static str = "";
    const MAY_BE_EMPTY: bool = true;
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        let mut named = Named { entries: Vec::new(), broken: Vec::new() };
        let Value::Map(entries) = &node.value else {
            if !node.is_null() {
                reporter
                    .report(node.place, format!("expected names with their values, found {}", node.described()))
                    .help("write `name: value`, one a line, indented");
            }
            if !node.is_null() {
                // A reference to an unnamed item is not reported as missing.
                named.broken.push(String::new());
            }
            return Some(named);
        };
        let known = || entries.iter().filter(|(key, _)| !key.invented).map(|(key, _)| key.text.as_str());
        for (key, node) in entries {
            if key.invented {
                reporter
                    .report(key.place, format!("unknown name `{}`", shortened(&key.text)))
                    .label(nearest(&key.text, known()).map(|near| format!("did you mean `{near}`?")))
                    .help(format!("the names are {}", crate::problem::all_of(known())));
                continue;
            }
            if node.is_null() && !T::MAY_BE_EMPTY {
                reporter
                    .report(node.place, format!("`{}` has no value", shortened(&key.text)))
                    .help("write one after the `:`");
                continue;
            }
            match T::decode(node, reporter) {
                Some(value) => named.entries.push((At { value: key.text.clone(), place: key.place }, value)),
                None => named.broken.push(key.text.clone()),
            }
        }
        Some(named)
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let values = schema_of::<T>(generator);
        json_schema!({ "type": "object", "additionalProperties": values })
    }
}

/// A value of any kind, which is decoded later.
#[derive(Clone, Debug)]
pub(crate) struct Raw(pub(crate) Node);

impl Field for Raw {
    const NAME: &'static str = "";
    fn decode(node: &Node, _: &mut Reporter) -> Option<Self> {
        Some(Raw(node.clone()))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// Keys that belong to another section, which elsewhere has the name of this one: the section, the key, the other
/// section, and what to write.
const MEANT: [(&str, &str, &str, &str); 1] = [(
    "a scale",
    "to",
    "extend",
    "what Kubernetes calls scale is meshsim's extend: `{ extend: a, to: 5, rate: 1 }`; `{ scale: a, by: 2, times: 1 }` \
     multiplies the capacity of each instance",
)];

/// The fields of a section, as they are read.
pub(crate) struct Fields<'a> {
    what: &'static str,
    place: Location,
    entries: &'a [(Key, Node)],
    /// The possible keys.
    keys: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Takes a map with these keys; any other key is reported.
    pub(crate) fn open(
        node: &'a Node,
        what: &'static str,
        keys: &[&'static str],
        reporter: &mut Reporter,
    ) -> Option<Self> {
        let entries: &[(Key, Node)] = match &node.value {
            Value::Map(entries) => entries,
            _ if node.is_null() => &[],
            _ => {
                reporter.report(node.place, format!("expected {what}, found {}", node.described())).help(format!(
                    "write it as `key: value`; the keys are {}",
                    crate::problem::all_of(keys.iter().copied())
                ));
                return None;
            }
        };
        for (key, _) in entries {
            if keys.contains(&key.text.as_str()) {
                continue;
            }
            if let Some((meant, value)) = unspaced(key, keys) {
                reporter
                    .report(key.place, format!("a space is missing after `{meant}:`"))
                    .help(format!("write `{meant}: {}`", shortened(value)));
            } else if let Some((_, _, meant, why)) = MEANT.iter().find(|(of, at, ..)| *of == what && *at == key.text) {
                reporter
                    .report(key.place, format!("unknown key `{}` in {what}", key.text))
                    .label(Some(format!("did you mean `{meant}`?")))
                    .help(*why);
            } else {
                reporter
                    .report(key.place, format!("unknown key `{}` in {what}", shortened(&key.text)))
                    .label(nearest(&key.text, keys.iter().copied()).map(|near| format!("did you mean `{near}`?")))
                    .help(format!("the keys are {}", crate::problem::all_of(keys.iter().copied())));
            }
        }
        Some(Fields { what, place: node.place, entries, keys: keys.to_vec() })
    }

    fn find(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    /// A field that must be there.
    pub(crate) fn required<T: Field>(&self, key: &str, doc: &str, reporter: &mut Reporter) -> Option<T> {
        if let Some(node) = self.find(key) {
            return self.value(node, key, reporter);
        }
        // A misspelt key has been reported already, with a suggestion. A correct one is not misspelt, however near.
        let is_meant = |k: &Key| nearest(&k.text, [key]).is_some() || unspaced(k, &[key]).is_some();
        let misspelt = self.entries.iter().any(|(k, _)| !self.keys.contains(&k.text.as_str()) && is_meant(k));
        if !misspelt {
            reporter
                .report(self.place, format!("missing key `{key}` in {}", self.what))
                .help(format!("{key}: {}", doc.trim()));
        }
        None
    }

    /// A field that may be missing.
    pub(crate) fn optional<T: Field>(&self, key: &str, reporter: &mut Reporter) -> Option<Option<T>> {
        self.find(key).map_or(Some(None), |node| self.value(node, key, reporter).map(Some))
    }

    /// A field that has a default, which is written as it would be in the file.
    pub(crate) fn or<T: Field>(&self, key: &str, default: &str, reporter: &mut Reporter) -> Option<T> {
        match self.find(key) {
            // The problem has been reported; with the default, the rest of the file can be checked too.
            Some(node) => self.value(node, key, reporter).or_else(|| decode_default(default, self.place, reporter)),
            None => decode_default(default, self.place, reporter),
        }
    }

    fn value<T: Field>(&self, node: &Node, key: &str, reporter: &mut Reporter) -> Option<T> {
        if node.is_null() && !T::MAY_BE_EMPTY {
            reporter.report(node.place, format!("`{key}` has no value")).help("write one, or leave the key out");
            return None;
        }
        T::decode(node, reporter)
    }
}

/// The key and the value that were meant by one key, as YAML reads `{name:node}`.
fn unspaced<'k>(key: &'k Key, keys: &[&'k str]) -> Option<(&'k str, &'k str)> {
    let (before, after) = key.text.split_once(':')?;
    (keys.contains(&before) && !after.is_empty()).then_some((before, after))
}

fn decode_default<T: Field>(default: &str, place: Location, reporter: &mut Reporter) -> Option<T> {
    T::decode(&Node::scalar(default, place), reporter)
}

/// The schema of a section from its table: (key, documentation, schema, default, required).
pub(crate) fn section_schema(
    doc: &str,
    fields: Vec<(&'static str, String, Schema, Option<&'static str>, bool)>,
) -> Schema {
    let mut properties = serde_json::Map::new();
    let mut required = vec![];
    for (key, doc, mut schema, default, must) in fields {
        schema.insert("description".into(), doc.trim().into());
        if let Some(default) = default.filter(|text| !text.is_empty()) {
            schema.insert("default".into(), default_value(default));
        }
        if must {
            required.push(key);
        }
        properties.insert(key.into(), schema.to_value());
    }
    let mut schema = json_schema!({
        "type": "object",
        "description": doc.trim(),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    schema
}

/// A default as JSON: a number or a truth where it is one, else the text.
fn default_value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

macro_rules! field_type {
    (required $ty:ty) => { $ty };
    (or $ty:ty) => { $ty };
    (optional $ty:ty) => { Option<$ty> };
}
macro_rules! field_key {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $key:literal) => {
        $key
    };
}
macro_rules! field_read {
    (required $ty:ty, $fields:ident, $key:expr, $doc:expr, $reporter:ident) => {
        $fields.required::<$ty>($key, $doc, $reporter)
    };
    (optional $ty:ty, $fields:ident, $key:expr, $doc:expr, $reporter:ident) => {
        $fields.optional::<$ty>($key, $reporter)
    };
    (or $ty:ty, $fields:ident, $key:expr, $doc:expr, $reporter:ident, $default:literal) => {
        $fields.or::<$ty>($key, $default, $reporter)
    };
}
macro_rules! is_required {
    (required) => {
        true
    };
    (or) => {
        false
    };
    (optional) => {
        false
    };
}
macro_rules! default_text {
    () => {
        None
    };
    ($default:literal) => {
        Some($default)
    };
}

/// Defines a section: `required key: Type;`, `optional key: Type;`, `or key: Type = "default";`, each documented; the
/// key of the file follows the field's name in quotes if it differs. `in "..."` is the name of the section in messages.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        struct $name:ident in $what:literal {
            $(
                $(#[doc = $field_doc:literal])*
                $form:ident $field:ident $(as $key:literal)?: $ty:ty $(= $default:literal)?;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            $($(#[doc = $field_doc])* pub(crate) $field: crate::section::field_type!($form $ty),)*
        }

        impl crate::section::Field for $name {
            const NAME: &'static str = stringify!($name);
            const MAY_BE_EMPTY: bool = true;

            fn decode(node: &crate::tree::Node, reporter: &mut crate::problem::Reporter) -> Option<Self> {
                let keys = [$(crate::section::field_key!($field $($key)?)),*];
                let fields = crate::section::Fields::open(node, $what, &keys, reporter)?;
                $(let $field = crate::section::field_read!(
                    $form $ty, fields, crate::section::field_key!($field $($key)?), concat!($($field_doc),*), reporter $(, $default)?
                );)*
                Some($name { $($field: $field?,)* })
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                crate::section::section_schema(concat!($($doc),*), vec![$((
                    crate::section::field_key!($field $($key)?),
                    concat!($($field_doc),*).to_owned(),
                    crate::section::schema_of::<$ty>(generator),
                    crate::section::default_text!($($default)?),
                    crate::section::is_required!($form),
                )),*])
            }
        }
    };
}

/// Makes an enum of sections, told apart by the one key that only one of them has.
macro_rules! by_key {
    (
        $(#[doc = $doc:literal])*
        enum $name:ident in $what:literal {
            $($key:literal => $variant:ident,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub(crate) enum $name {
            $($variant($variant),)*
        }

        impl $name {
            /// The keys, one of which a map has.
            pub(crate) const KEYS: &'static [&'static str] = &[$($key),*];
        }

        impl crate::section::Field for $name {
            const NAME: &'static str = stringify!($name);

            fn decode(node: &crate::tree::Node, reporter: &mut crate::problem::Reporter) -> Option<Self> {
                match crate::section::chosen_key(node, $what, Self::KEYS, reporter)? {
                    $($key => Some($name::$variant(crate::section::Field::decode(node, reporter)?)),)*
                    _ => None,
                }
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let any = vec![$(crate::section::schema_of::<$variant>(generator)),*];
                schemars::json_schema!({ "description": concat!($($doc),*).trim(), "oneOf": any })
            }
        }
    };
}

pub(crate) use {by_key, default_text, field_key, field_read, field_type, is_required, section};

/// The one key of these that a map has.
pub(crate) fn chosen_key(
    node: &Node,
    what: &'static str,
    keys: &[&'static str],
    reporter: &mut Reporter,
) -> Option<&'static str> {
    let Value::Map(entries) = &node.value else {
        let help = match &node.value {
            Value::Scalar { text, .. } if what == "`arrivals`" && crate::units::rate(text).is_ok() => {
                format!(
                    "write `{{ constant: {text} }}` if they are evenly spaced, `{{ poisson: {text} }}` if at random"
                )
            }
            _ => format!("write it with one of {}", one_of(keys.iter().copied())),
        };
        reporter.report(node.place, format!("expected {what}, found {}", node.described())).help(help);
        return None;
    };
    let mut found = entries.iter().filter_map(|(key, _)| keys.iter().find(|k| **k == key.text).map(|k| (*k, key)));
    let noun = what.trim_start_matches("an ").trim_start_matches("a ");
    let Some((first, _)) = found.next() else {
        let near = entries.iter().find_map(|(key, _)| Some((key, nearest(&key.text, keys.iter().copied())?)));
        // Operations and faults have other keys beside the one that names their kind.
        let only = || match &entries[..] {
            [(key, _)] if !matches!(noun, "operation" | "fault") => Some(key),
            _ => None,
        };
        let (place, message) = match near.map(|(key, _)| key).or_else(only) {
            Some(key) => (key.place, format!("unknown {noun} `{}`", shortened(&key.text))),
            None => (node.place, format!("missing the kind of the {noun}")),
        };
        reporter
            .report(place, message)
            .label(near.map(|(_, near)| format!("did you mean `{near}`?")))
            .help(format!("add one of {}", one_of(keys.iter().copied())));
        return None;
    };
    if let Some((second, key)) = found.next() {
        let help = match noun {
            "step" | "operation" | "fault" => "make two of it: each begins with its own `- `",
            _ => "keep one of the two",
        };
        reporter.report(key.place, format!("{what} is either `{first}` or `{second}`, not both")).help(help);
        return None;
    }
    Some(first)
}
