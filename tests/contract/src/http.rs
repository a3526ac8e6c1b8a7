//! The OpenAPI document: the same notifications over plain HTTP.

use schemars::{JsonSchema as _, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};
use ws_gateway::protocol::{CloseReason, PollAnswer, ReadState};

/// Schema of the answer to a long poll.
const ANSWER: &str = "PollAnswer";

/// Schema of the answer to a request to mark notifications as read.
const READ_STATE: &str = "ReadState";
/// The parameter of such a request.
const UP_TO: &str = "The newest notification that was read; if it is missing, nothing is marked";
/// The parameter of a poll that asks for read states.
const READ_UP_TO: &str = "Of a poll: `up_to` of the read state that the client knows, or nothing; \
    the answer has the read state if that is another one";

/// Returns the document; it refers to the schema of notifications in the file next to it.
pub(crate) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Live notifications over HTTP",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "For networks that allow no WebSocket. Frames are those of asyncapi.json.",
        },
        "paths": {
            "/events": {"get": {
                "operationId": "receiveEvents",
                "security": [{"token": []}],
                "parameters": parameters(),
                "responses": responses(),
            }},
            "/read": {"post": {
                "operationId": "markRead",
                "security": [{"token": []}],
                "parameters": [parameter("query", "up_to", "string", UP_TO)],
                "responses": read_responses(),
            }},
        },
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    })
}

fn parameter(place: &str, name: &str, kind: &str, description: &str) -> Value {
    json!({"in": place, "name": name, "description": description, "schema": {"type": kind}})
}

fn parameters() -> Value {
    json!([
        parameter("query", "last_event_id", "string", "The position to resume from"),
        parameter("header", "Last-Event-ID", "string", "The same; takes precedence"),
        parameter("query", "after", "string", "The same, of a poll"),
        parameter("query", "wait", "integer", "Longest wait of a poll, in seconds: at most 60"),
        parameter("query", "categories", "string", "Categories to receive, separated by commas"),
        parameter("query", "read_up_to", "string", READ_UP_TO),
    ])
}

fn json_response(schema: &str, description: &str) -> Value {
    let schema = reference(schema);
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

fn read_responses() -> Value {
    let refusal = |description: &str| json_response("Refusal", description);
    json!({
        "200": json_response(READ_STATE, "What the user has read, after the request"),
        "400": refusal("The position is invalid, or the request names two tokens or two positions"),
        "401": refusal("The token is missing, invalid, expired or revoked"),
        "403": refusal("The origin is not allowed"),
        "429": refusal("A limit of the client's address is reached"),
        "503": refusal("A limit of the gateway is reached, or Redis is unavailable; see Retry-After"),
    })
}

fn responses() -> Value {
    let refusal = |description: &str| json_response("Refusal", description);
    let stream = "Frames as Server-Sent Events: `id` is the position to resume from, a comment \
                  comes every 15 s, `retry` when the client should reconnect. The last event is \
                  named `close`; its data are `code` and `reason`, like a WebSocket's close frame.";
    json!({
        "200": {
            "description": "An event stream or the answer to a long poll, as `Accept` says",
            "content": {
                "text/event-stream": {"schema": {"type": "string", "description": stream}},
                "application/json": {"schema": reference(ANSWER)},
            },
        },
        "400": refusal("The request is not valid, or names two tokens or two positions"),
        "401": refusal("The token is missing, invalid, expired or revoked"),
        "403": refusal("The origin is not allowed"),
        "406": refusal("Neither content type is accepted"),
        "429": refusal("A limit of the user or of the client's address is reached"),
        "503": refusal("A limit of the gateway is reached, or Redis is unavailable; see Retry-After"),
    })
}

fn schemas() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator: SchemaGenerator = settings.into_generator();
    let mut answer = PollAnswer::json_schema(&mut generator).to_value();
    let frames = &mut answer["properties"]["frames"];
    frames["items"] = json!({"$ref": "notifications.schema.json"});
    let codes: Vec<u16> =
        [CloseReason::Unauthenticated, CloseReason::LimitReached].map(CloseReason::code).into();
    let read_state = ReadState::json_schema(&mut generator).to_value();
    let mut schemas = generator.take_definitions(true);
    schemas.insert(READ_STATE.to_owned(), read_state);
    schemas.insert(ANSWER.to_owned(), answer);
    let refusal = json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {"type": "string", "description": "The rule that the request breaks"},
            "code": {"description": "The close code that a WebSocket would get", "enum": codes},
        },
    });
    schemas.insert("Refusal".to_owned(), refusal);
    schemas.into()
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}
