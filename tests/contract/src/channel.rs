//! The AsyncAPI document: the channel, its messages and its close codes.

use anyhow::Context as _;
use schemars::{JsonSchema as _, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use shared::metrics::Label as _;
use ws_gateway::auth::TOKEN_SUBPROTOCOL_PREFIX;
use ws_gateway::protocol::{
    ClientMessage, CloseReason, READ_STATE_EVENT, ReadStateFrame, Remedy, STATE_EVENT, SUBPROTOCOL,
    StateFrame,
};

use crate::notifications;

/// Schema of the frames about the connection itself.
pub(crate) const STATE: &str = "StateFrame";
/// Schema of the frames with a read state.
pub(crate) const READ_STATE: &str = "ReadStateFrame";
/// Schema of the client's messages.
pub(crate) const CLIENT: &str = "ClientMessage";

/// Returns the document; it refers to the schemas of notifications in the file next to it.
pub(crate) fn document() -> anyhow::Result<Value> {
    let notifications = notifications::schema()?;
    let names: Vec<&str> =
        notifications["oneOf"].as_array().into_iter().flatten().filter_map(name).collect();
    let mut messages = Map::new();
    for name in &names {
        let schema = format!("notifications.schema.json#/$defs/{name}");
        messages.insert((*name).to_owned(), json!({"name": name, "payload": {"$ref": schema}}));
    }
    for name in [STATE, READ_STATE, CLIENT] {
        let schema = format!("#/components/schemas/{name}");
        messages.insert(name.to_owned(), json!({"name": name, "payload": {"$ref": schema}}));
    }
    let pong =
        json!({"type": "object", "required": ["type"], "properties": {"type": {"const": "pong"}}});
    messages.insert("Pong".to_owned(), json!({"name": "Pong", "payload": pong}));
    let on_channel: Map<String, Value> = messages
        .keys()
        .map(|name| (name.clone(), reference(&format!("#/components/messages/{name}"))))
        .collect();
    let sent = messages.keys().filter(|name| *name != CLIENT);
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Live notifications",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the gateway sends to a browser, and what a browser may send.",
        },
        "defaultContentType": "application/json",
        "channels": {"notifications": {
            "address": "/ws",
            "description": "One WebSocket of one user. All frames are text.",
            "messages": on_channel,
            "bindings": {"ws": handshake()},
            "x-subprotocols": {"spoken": SUBPROTOCOL, "token": TOKEN_SUBPROTOCOL_PREFIX},
            "x-close-codes": close_codes(),
        }},
        "operations": {
            "sendNotifications": operation("send", sent),
            "receiveMessages": operation("receive", [CLIENT.to_owned()].iter()),
        },
        "components": {"messages": messages, "schemas": schemas()?},
    }))
}

/// Returns the last part of a `$ref`.
pub(crate) fn name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn reference(path: &str) -> Value {
    json!({"$ref": path})
}

fn operation<'a>(action: &str, messages: impl Iterator<Item = &'a String>) -> Value {
    let path = |name| reference(&format!("#/channels/notifications/messages/{name}"));
    json!({
        "action": action,
        "channel": reference("#/channels/notifications"),
        "messages": messages.map(path).collect::<Vec<_>>(),
    })
}

fn handshake() -> Value {
    let query = json!({
        "last_event_id": {"type": "string", "description": "The position to resume from"},
        "categories": {"type": "string", "description": "Categories to receive, separated by commas"},
        "token": {"type": "string", "description": "A token, for clients that can send it neither as a header nor as a subprotocol"},
    });
    json!({
        "bindingVersion": "0.1.0",
        "method": "GET",
        "query": {"type": "object", "properties": query},
    })
}

/// Returns the schemas of the gateway's own frames and of the client's messages.
fn schemas() -> anyhow::Result<Value> {
    let generator = |settings: SchemaSettings| {
        let with_path = |settings: &mut SchemaSettings| {
            settings.definitions_path = "/components/schemas".into();
        };
        SchemaGenerator::new(settings.with(with_path))
    };
    let mut sent = generator(SchemaSettings::draft07().for_serialize());
    let state = with_event(StateFrame::json_schema(&mut sent).to_value(), STATE_EVENT)?;
    let read = with_event(ReadStateFrame::json_schema(&mut sent).to_value(), READ_STATE_EVENT)?;
    let mut received = generator(SchemaSettings::draft07().for_deserialize());
    let client = ClientMessage::json_schema(&mut received).to_value();
    let mut schemas = sent.take_definitions(true);
    schemas.extend(received.take_definitions(true));
    schemas.insert(STATE.to_owned(), state);
    schemas.insert(READ_STATE.to_owned(), read);
    schemas.insert(CLIENT.to_owned(), client);
    Ok(schemas.into())
}

/// Returns the schema of a frame whose `event` is always the same.
fn with_event(mut schema: Value, event: &str) -> anyhow::Result<Value> {
    let properties = schema["properties"].as_object_mut().context("a frame is an object")?;
    properties.insert("event".to_owned(), json!({"const": event}));
    Ok(schema)
}

/// Returns each close code with its reasons and the client's remedy.
fn close_codes() -> Value {
    let mut codes = Map::new();
    for reason in CloseReason::all() {
        let remedy = match reason.remedy() {
            Remedy::Reconnect => "reconnect",
            Remedy::NewToken => "new_token",
            Remedy::Wait => "wait",
            Remedy::Stop => "stop",
        };
        let code = codes
            .entry(reason.code().to_string())
            .or_insert_with(|| json!({"remedy": remedy, "reasons": []}));
        if let Some(reasons) = code["reasons"].as_array_mut() {
            reasons.push(reason.label().into());
        }
    }
    codes.into()
}
