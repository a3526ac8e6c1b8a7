//! The TypeScript module: one type per schema, and the constants of the client.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use ws_gateway::auth::TOKEN_SUBPROTOCOL_PREFIX;
use ws_gateway::protocol::{READ_STATE_EVENT, STATE_EVENT, SUBPROTOCOL};

use crate::{channel, notifications};

const HEAD: &str = "\
// Written by `make contract` from the types of `shared` and `ws-gateway`; not by hand.
";

/// Returns the text of the module.
pub(crate) fn module(notifications: &Value, channel: &Value) -> anyhow::Result<String> {
    let mut schemas = object(&notifications["$defs"])?.clone();
    schemas.extend(object(&channel["components"]["schemas"])?.clone());
    Ok(HEAD.to_owned()
        + &types(&schemas)?
        + &names(notifications, &schemas)?
        + &constants(channel, &schemas)?)
}

fn types(schemas: &Map<String, Value>) -> anyhow::Result<String> {
    let mut text = String::new();
    for (name, schema) in schemas {
        text += &comment(schema);
        match schema["properties"].as_object() {
            Some(_) => {
                // A flattened type.
                let base = channel::name(schema).map(|base| format!("extends {base} "));
                let base = base.unwrap_or_default();
                writeln!(text, "export interface {name} {base}{}", fields(schema, ""))?;
            }
            None => writeln!(text, "export type {name} = {};", type_of(schema, ""))?,
        }
    }
    Ok(text)
}

/// Returns the map from `event` to type.
fn names(notifications: &Value, schemas: &Map<String, Value>) -> anyhow::Result<String> {
    let mut text = "\n/** Every notification that has a type of its own, by its `event`. */\n\
                    export interface Notifications {\n"
        .to_owned();
    let known = notifications["oneOf"].as_array().into_iter().flatten().filter_map(channel::name);
    for name in known.filter(|name| *name != notifications::OTHER) {
        let event = schemas[name]["properties"]["event"]["const"].as_str();
        writeln!(text, "  {}: {name};", event.context("a notification has a name")?)?;
    }
    let other = notifications::OTHER;
    text += "}\n\n/** Any notification. */\n";
    writeln!(text, "export type Notification = Notifications[keyof Notifications] | {other};")?;
    Ok(text)
}

/// Returns the constants of the client.
fn constants(channel: &Value, schemas: &Map<String, Value>) -> anyhow::Result<String> {
    let categories = schemas["Category"]["oneOf"].as_array().into_iter().flatten();
    let categories: Vec<&Value> = categories.map(|category| &category["const"]).collect();
    let codes = object(&channel["channels"]["notifications"]["x-close-codes"])?;
    let with = |remedy: &str| {
        let with = codes.iter().filter(|(_, code)| code["remedy"] == remedy);
        with.filter_map(|(code, _)| code.parse().ok()).collect::<Vec<u16>>()
    };
    let [stop, wait, new_token] = ["stop", "wait", "new_token"].map(|remedy| json!(with(remedy)));
    let mut text = String::new();
    for (comment, name, value) in [
        ("Every category.", "CATEGORIES: readonly Category[]", json!(categories)),
        ("The `event` of frames about the connection itself.", "STATE_EVENT", json!(STATE_EVENT)),
        ("The `event` of frames with a read state.", "READ_STATE_EVENT", json!(READ_STATE_EVENT)),
        ("The subprotocol that the client requests.", "SUBPROTOCOL", json!(SUBPROTOCOL)),
        ("Starts the subprotocol with the token.", "TOKEN_PREFIX", json!(TOKEN_SUBPROTOCOL_PREFIX)),
        (
            "Close codes after which a client does not reconnect.",
            "STOP_CODES: readonly number[]",
            stop,
        ),
        (
            "Close codes after which a client waits, up to minutes.",
            "WAIT_CODES: readonly number[]",
            wait,
        ),
        ("Close codes for a refused token.", "TOKEN_CODES: readonly number[]", new_token),
    ] {
        write!(text, "\n/** {comment} */\nexport const {name} = {value};\n")?;
    }
    Ok(text)
}

fn object(value: &Value) -> anyhow::Result<&Map<String, Value>> {
    value.as_object().context("a document holds objects")
}

fn comment(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let text = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
    if text.is_empty() { "\n".to_owned() } else { format!("\n/** {text} */\n") }
}

fn type_of(schema: &Value, indent: &str) -> String {
    if let Some(name) = channel::name(schema) {
        return name.to_owned();
    }
    if let Some(constant) = schema.get("const") {
        return constant.to_string();
    }
    for alternatives in ["oneOf", "anyOf"] {
        if let Some(alternatives) = schema[alternatives].as_array() {
            return union(alternatives.iter().map(|one| type_of(one, indent)));
        }
    }
    // A reference with a description next to it, as older drafts write it.
    if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice) {
        return type_of(only, indent);
    }
    if let Some(values) = schema["enum"].as_array() {
        return union(values.iter().map(Value::to_string));
    }
    match &schema["type"] {
        Value::String(kind) => single(kind, schema, indent),
        Value::Array(kinds) => {
            union(kinds.iter().filter_map(Value::as_str).map(|kind| single(kind, schema, indent)))
        }
        _ => "unknown".to_owned(),
    }
}

fn single(kind: &str, schema: &Value, indent: &str) -> String {
    match kind {
        "integer" | "number" => "number".to_owned(),
        "array" => format!("Array<{}>", type_of(&schema["items"], indent)),
        "object" => fields(schema, indent),
        other => other.to_owned(),
    }
}

fn union(types: impl Iterator<Item = String>) -> String {
    types.collect::<Vec<_>>().join(" | ")
}

fn fields(schema: &Value, indent: &str) -> String {
    let inner = format!("{indent}  ");
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut lines = vec!["{".to_owned()];
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let mark = if required.contains(&&**name) { "" } else { "?" };
        let text = comment(field).trim().to_owned();
        lines.extend((!text.is_empty()).then(|| format!("{inner}{text}")));
        lines.push(format!("{inner}{name}{mark}: {};", type_of(field, &inner)));
    }
    if schema["additionalProperties"] == true {
        lines.push(format!("{inner}[key: string]: unknown;"));
    }
    lines.push(format!("{indent}}}"));
    lines.join("\n")
}
