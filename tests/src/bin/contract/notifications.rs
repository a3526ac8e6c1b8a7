//! The JSON Schema of every notification.

use std::collections::BTreeMap;

use anyhow::Context as _;
use schemars::{JsonSchema as _, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};
use shared::{
    events::{batch, class, essay, file, matching, results},
    notification::{Data, Frame, Told},
};
use ws_gateway::position::Position;

/// The name of notifications that a service words itself; their `event` is an open set.
pub(crate) const OTHER: &str = "OtherNotification";

/// A document whose `oneOf` lists every notification, each described under its name in `$defs`.
pub(crate) fn schema() -> anyhow::Result<Value> {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let described = every_one(&mut generator)?;
    let events: Vec<Value> =
        described.iter().map(|(_, frame)| frame["properties"]["event"]["const"].clone()).collect();
    let mut other = frame::<Data<BTreeMap<String, Value>>>(&mut generator)?;
    let open = generator.subschema_for::<Data<BTreeMap<String, Value>>>().to_value();
    other["description"] = "A notification that a service has worded itself.".into();
    other["properties"]["event"] = json!({"type": "string", "not": {"enum": events}});
    let data = format!("{OTHER}Data");
    other["properties"]["data"] = json!({"$ref": format!("#/$defs/{data}")});

    let mut names: Vec<String> = described.iter().map(|(name, _)| name.clone()).collect();
    names.push(OTHER.to_owned());
    let mut definitions = generator.take_definitions(true);
    let open = open["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let open = open.and_then(|name| definitions.remove(name)).context("it is described")?;
    definitions.insert(data, open);
    definitions.extend(described);
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

/// Describes one notification under its name.
type Row = fn(&mut SchemaGenerator) -> anyhow::Result<(String, Value)>;

/// One row for each event that users are told about.
fn every_one(generator: &mut SchemaGenerator) -> anyhow::Result<Vec<(String, Value)>> {
    let rows: [Row; 17] = [
        told::<file::BatchFileAddedData>,
        told::<file::BatchFileRemovedData>,
        told::<batch::BatchEssaysReadyData>,
        told::<batch::BatchValidationErrorsData>,
        told::<batch::BatchContentProvisioningCompletedData>,
        told::<matching::StudentMatchesSuggestedData>,
        told::<matching::StudentAssociationsConfirmedData>,
        told::<matching::ValidationTimeoutProcessedData>,
        told::<results::CjAssessmentCompletedData>,
        told::<results::CjAssessmentFailedData>,
        told::<results::SpellcheckCompletedData>,
        told::<batch::BatchPhaseOutcomeData>,
        told::<essay::EssayContentProvisionedData>,
        told::<essay::EssayValidationFailedData>,
        told::<class::ClassCreatedData>,
        told::<class::StudentCreatedData>,
        told::<essay::EssayStudentAssociationUpdatedData>,
    ];
    rows.iter().map(|row| row(generator)).collect()
}

fn told<T: Told>(generator: &mut SchemaGenerator) -> anyhow::Result<(String, Value)> {
    let mut frame = frame::<Data<T>>(generator)?;
    frame["properties"]["event"] = json!({"const": T::EVENT});
    frame["properties"]["category"] = json!({"const": T::CATEGORY});
    frame["properties"]["priority"] = json!({"const": T::PRIORITY});
    frame["description"] = format!("The notification `{}`.", T::EVENT).into();
    Ok((upper_camel(T::EVENT), frame))
}

/// A notification with this data, and with the position that Redis adds.
fn frame<D: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> anyhow::Result<Value> {
    let mut frame = Frame::<D>::json_schema(generator).to_value();
    let properties = frame["properties"].as_object_mut().context("a frame is an object")?;
    properties.insert("id".to_owned(), generator.subschema_for::<Position>().to_value());
    Ok(frame)
}

fn upper_camel(event: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    event.split('_').map(capital).collect()
}
