//! The JSON Schema of every notification.

use std::collections::BTreeMap;

use anyhow::Context as _;
use ingest_worker::domain::routes::ROUTES;
use schemars::{JsonSchema as _, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use shared::notification::{Data, Frame, NotificationSchema};
use ws_gateway::protocol::Position;

/// Schema of notifications that another service has formatted; their `event` is an open set.
pub(crate) const OTHER: &str = "OtherNotification";

/// Returns a document whose `oneOf` lists every notification, defined in `$defs`.
pub(crate) fn schema() -> anyhow::Result<Value> {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let known = known_notifications(&mut generator)?;
    let events: Vec<Value> =
        known.iter().map(|(_, frame)| frame["properties"]["event"]["const"].clone()).collect();
    let other = Frame::<Data<BTreeMap<String, Value>>>::json_schema(&mut generator);
    let mut other = with_position(other, &mut generator)?;
    let open = generator.subschema_for::<Data<BTreeMap<String, Value>>>().to_value();
    other["description"] = "A notification that another service has formatted.".into();
    other["properties"]["event"] = json!({"type": "string", "not": {"enum": events}});
    let data = format!("{OTHER}Data");
    other["properties"]["data"] = json!({"$ref": format!("#/$defs/{data}")});

    let mut names: Vec<String> = known.iter().map(|(name, _)| name.clone()).collect();
    names.push(OTHER.to_owned());
    let mut definitions = generator.take_definitions(true);
    let open = open["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let open = open
        .and_then(|name| definitions.remove(name))
        .context("the open data schema has a definition")?;
    definitions.insert(data, open);
    definitions.values_mut().filter_map(Value::as_object_mut).for_each(with_list_counts);
    definitions.extend(known);
    definitions.insert(OTHER.to_owned(), other);
    let refs: Vec<Value> =
        names.iter().map(|name| json!({"$ref": format!("#/$defs/{name}")})).collect();
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Notification",
        "description": "What a browser receives.",
        "oneOf": refs,
        "$defs": definitions,
    }))
}

/// Returns the schema of every notification of the routing table, with its name.
fn known_notifications(generator: &mut SchemaGenerator) -> anyhow::Result<Vec<(String, Value)>> {
    let schemas = ROUTES.iter().filter_map(|route| (route.schema)(generator)).collect::<Vec<_>>();
    let describe = |schema: NotificationSchema| {
        let mut frame = with_position(schema.frame, generator)?;
        frame["properties"]["event"] = json!({"const": schema.event});
        frame["properties"]["category"] = json!({"const": schema.category});
        frame["properties"]["priority"] = json!({"const": schema.priority});
        frame["description"] = format!("The notification `{}`.", schema.event).into();
        Ok((upper_camel(schema.event), frame))
    };
    schemas.into_iter().map(describe).collect()
}

/// Adds the position that Redis assigns.
fn with_position(frame: Schema, generator: &mut SchemaGenerator) -> anyhow::Result<Value> {
    let mut frame = frame.to_value();
    let properties = frame["properties"].as_object_mut().context("a frame is an object")?;
    properties.insert("id".to_owned(), generator.subschema_for::<Position>().to_value());
    Ok(frame)
}

/// Adds to the data of an event with lists what it has if they were cut to the size limit.
fn with_list_counts(schema: &mut Map<String, Value>) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    let is_list = |schema: &Value| match &schema["type"] {
        Value::Array(kinds) => kinds.contains(&json!("array")),
        kind => kind == "array",
    };
    let lists = properties.iter().filter(|(_, schema)| is_list(schema));
    let lists: Vec<String> = lists.map(|(name, _)| name.clone()).collect();
    if lists.is_empty() || !properties.contains_key("category") {
        return;
    }
    for list in lists {
        let text = format!("The length of `{list}` before it was cut; absent if it was not.");
        let count = json!({"description": text, "type": "integer", "minimum": 0});
        properties.entry(format!("{list}_count")).or_insert(count);
    }
    let text = "True if lists were cut to the size limit; absent otherwise.";
    let truncated = json!({"description": text, "type": "boolean"});
    properties.insert("truncated".to_owned(), truncated);
}

fn upper_camel(event: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    event.split('_').map(capital).collect()
}
