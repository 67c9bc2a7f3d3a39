//! One path and method, as the document describes it.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::refusal::Error;
use crate::routes::Route;

/// Group of a call, as a tag of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Requests,
    State,
    Steering,
}

impl Tag {
    pub(super) const ALL: [Tag; 3] = [Tag::Requests, Tag::State, Tag::Steering];

    pub(super) fn name(self) -> &'static str {
        match self {
            Tag::Requests => "requests",
            Tag::State => "state",
            Tag::Steering => "steering",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Tag::Requests => "Requests through the mesh.",
            Tag::State => "How things stand.",
            Tag::Steering => "What is to be done.",
        }
    }
}

/// Meaning of a refusal with this status.
const REFUSALS: [(u16, &str, &str); 9] = [
    (400, "Wrong", "The input is wrong; of a text of the experiment file's format all problems are told."),
    (401, "Unauthorized", "The token is missing or wrong."),
    (403, "Forbidden", "A page of another origin asks."),
    (404, "NotFound", "There is nothing of that name; what there is may be listed."),
    (408, "Late", "The body does not arrive."),
    (409, "Conflict", "The current state of the run does not allow it."),
    (413, "TooLarge", "The body is larger than 64 KiB."),
    (421, "Misdirected", "The gateway is not known by that host's name."),
    (503, "Unavailable", "The run has not begun, or is over, or its coordinator is down."),
];

/// The responses that calls refer to.
pub(super) fn refusals(error: &Schema) -> Value {
    let refusal = |(status, name, description): &(u16, &str, &str)| {
        let mut it = json!({ "description": description, "content": { "application/json": { "schema": error } } });
        if *status == 401 {
            it["headers"] = json!({ "WWW-Authenticate": { "schema": { "type": "string" } } });
        }
        ((*name).to_owned(), it)
    };
    Value::Object(REFUSALS.iter().map(refusal).collect())
}

/// A path and method while it is described.
pub(crate) struct Call<'a> {
    schemas: &'a mut SchemaGenerator,
    described: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Vec<(u16, Value)>,
}

impl<'a> Call<'a> {
    pub(super) fn new(route: &Route, schemas: &'a mut SchemaGenerator) -> Self {
        let (described, parameters, responses) = (Map::new(), Vec::new(), Vec::new());
        let mut call = Call { schemas, described, parameters, responses };
        call.refuses(&[421]);
        // A health check may come from anywhere.
        if route.path != "/healthz" {
            call.refuses(&[403]);
        }
        call
    }

    /// Its summary in one sentence, and its operation id.
    pub(crate) fn is(&mut self, tag: Tag, name: &str, summary: &str) -> &mut Self {
        self.described.insert("operationId".into(), name.into());
        self.described.insert("tags".into(), json!([tag.name()]));
        self.described.insert("summary".into(), summary.into());
        self
    }

    /// A part of the path.
    pub(crate) fn part(&mut self, name: &str, description: &str, schema: Value) -> &mut Self {
        let part =
            json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema });
        self.parameters.push(part);
        self
    }

    /// A key of the query.
    pub(crate) fn key(&mut self, name: &str, description: &str, schema: Value) -> &mut Self {
        self.parameters.push(json!({ "name": name, "in": "query", "description": description, "schema": schema }));
        self
    }

    /// The call requires the operator token.
    pub(crate) fn needs_token(&mut self) -> &mut Self {
        self.described.insert("security".into(), json!([{ "token": [] }]));
        self.refuses(&[401])
    }

    /// The body is a text of the experiment file's format, as JSON or YAML: a definition of the file's schema.
    pub(crate) fn takes_of_the_file(&mut self, definition: &str) -> &mut Self {
        let schema = json!({ "schema": { "$ref": format!("#/components/schemas/{definition}") } });
        let content = json!({ "application/json": schema, "application/yaml": schema });
        self.described.insert("requestBody".into(), json!({ "required": true, "content": content }));
        self.refuses(&[400, 408, 413])
    }

    /// The body is anything.
    pub(crate) fn takes_bytes(&mut self, description: &str) -> &mut Self {
        let content = json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } });
        let body = json!({ "description": description, "required": false, "content": content });
        self.described.insert("requestBody".into(), body);
        self.refuses(&[408, 413])
    }

    /// An answer in JSON.
    pub(crate) fn says<T: JsonSchema>(&mut self, status: u16, description: &str) -> &mut Self {
        let schema = self.schemas.subschema_for::<T>().to_value();
        self.responds(status, description, "application/json", schema)
    }

    /// An answer in JSON, or an error.
    pub(crate) fn says_or_refuses<T: JsonSchema>(&mut self, status: u16, description: &str) -> &mut Self {
        let any = [self.schemas.subschema_for::<T>(), self.schemas.subschema_for::<Error>()];
        self.responds(status, description, "application/json", json!({ "anyOf": any }))
    }

    /// An answer that is a text.
    pub(crate) fn says_text(&mut self, media: &str, description: &str) -> &mut Self {
        self.responds(200, description, media, json!({ "type": "string" }))
    }

    /// An answer with any schema.
    pub(crate) fn responds(&mut self, status: u16, description: &str, media: &str, schema: Value) -> &mut Self {
        let content = Value::Object(Map::from_iter([(media.to_owned(), json!({ "schema": schema }))]));
        self.responses.push((status, json!({ "description": description, "content": content })));
        self
    }

    /// The last answer has this header, too.
    pub(crate) fn with_header(&mut self, name: &str, description: &str, schema: Value) -> &mut Self {
        if let Some((_, response)) = self.responses.last_mut() {
            response["headers"][name] = json!({ "description": description, "schema": schema });
        }
        self
    }

    /// It may be refused in these ways.
    pub(crate) fn refuses(&mut self, statuses: &[u16]) -> &mut Self {
        let those = REFUSALS.iter().filter(|(status, ..)| statuses.contains(status));
        let refer = |name: &str| json!({ "$ref": format!("#/components/responses/{name}") });
        self.responses.extend(those.map(|(status, name, _)| (*status, refer(name))));
        self
    }

    pub(super) fn described(self) -> Value {
        let Call { mut described, parameters, mut responses, .. } = self;
        if !parameters.is_empty() {
            described.insert("parameters".into(), parameters.into());
        }
        responses.sort_by_key(|(status, _)| *status);
        let responses = responses.into_iter().map(|(status, it)| (status.to_string(), it));
        described.insert("responses".into(), Value::Object(responses.collect()));
        Value::Object(described)
    }
}
