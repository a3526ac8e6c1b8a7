//! The size limit of a notification: lists in its data are cut to fit.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

/// Bytes of a frame besides event name, correlation id and data: keys, times, ids, the trace
/// context, and a user id of the longest size.
const FRAME_BYTES: usize = 2 << 10;

/// Bytes that one byte of text takes at most in JSON, as in `\u0001`.
const ESCAPED_BYTES: usize = 6;

/// A notification that is over the limit even without the elements of its lists.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the notification is too large (limit: {limit} bytes)")]
pub struct TooLarge {
    limit: usize,
}

/// Returns `data` with its lists cut so that a frame with it takes at most `limit` bytes;
/// `names` is the length of event name and correlation id. `None` if the data fits as it is.
///
/// # Errors
/// [`TooLarge`] if cutting all lists is not enough.
pub(super) fn limited(
    data: &RawValue,
    names: usize,
    limit: usize,
) -> Result<Option<Box<RawValue>>, TooLarge> {
    let frame = FRAME_BYTES + ESCAPED_BYTES * names;
    if frame + data.get().len() <= limit {
        return Ok(None);
    }
    let cut = limit.checked_sub(frame).and_then(|budget| cut_lists(data, budget));
    cut.map(Some).ok_or(TooLarge { limit })
}

/// How many objects inside each other are searched for lists.
const MAX_DEPTH: usize = 4;

/// The fields of an object.
type Fields = BTreeMap<String, Box<RawValue>>;

/// Cuts the lists of an object so that its text takes at most `budget` bytes; `None` if that is
/// not possible.
fn cut_lists(data: &RawValue, budget: usize) -> Option<Box<RawValue>> {
    let mut fields = fields_of(data)?;
    fields.insert("truncated".into(), to_raw_value(&true).ok()?);
    let left = budget.checked_sub(least_length(&fields, MAX_DEPTH))?;
    cut_fields(fields, left, MAX_DEPTH)
}

/// Cuts the lists of an object to its least length and `left` bytes. Shorter ones are cut last.
fn cut_fields(mut fields: Fields, mut left: usize, depth: usize) -> Option<Box<RawValue>> {
    let counts = counts_of(&fields);
    let beyond_least = |value: &RawValue| value.get().len().saturating_sub(least(value, depth));
    let lengths = fields.iter().map(|(name, value)| (beyond_least(value), name.clone()));
    let mut lengths: Vec<(usize, String)> = lengths.filter(|(length, _)| *length > 0).collect();
    lengths.sort();
    let values = lengths.len();
    for (index, (length, name)) in lengths.into_iter().enumerate() {
        let share = left / (values - index);
        if length <= share {
            left -= length;
            continue;
        }
        left -= share;
        let kept = if let Some(inner) = fields_of(&fields[&name]) {
            cut_fields(inner, share, depth - 1)?
        } else {
            let (kept, count) = cut(&fields[&name], share)?;
            if let Some(field) = counts.get(&name) {
                fields.insert(field.clone(), number(count));
            }
            kept
        };
        fields.insert(name, kept);
    }
    to_raw_value(&fields).ok()
}

/// Returns the name of the field that states the full length of each list. A field of that name
/// stays as it is.
fn counts_of(fields: &Fields) -> BTreeMap<String, String> {
    let lists = fields.iter().filter(|(_, value)| is_list(value));
    let counts = lists.map(|(name, _)| (name.clone(), format!("{name}_count")));
    counts.filter(|(_, count)| !fields.contains_key(count)).collect()
}

/// Returns the length of an object whose lists are empty and counted.
fn least_length(fields: &Fields, depth: usize) -> usize {
    // A list has no more elements than bytes.
    let count = |(list, field): (String, String)| {
        field_length(&field, fields[&list].get().len().to_string().len())
    };
    let counts: usize = counts_of(fields).into_iter().map(count).sum();
    "{}".len()
        + counts
        + fields.iter().map(|(name, value)| field_length(name, least(value, depth))).sum::<usize>()
}

/// Returns the length of a value whose lists are empty and counted.
fn least(value: &RawValue, depth: usize) -> usize {
    if is_list(value) {
        return "[]".len();
    }
    let fields = if depth > 0 { fields_of(value) } else { None };
    fields.map_or(value.get().len(), |fields| least_length(&fields, depth - 1))
}

/// Returns the length of a field with its colon and comma.
fn field_length(name: &str, value: usize) -> usize {
    serde_json::to_string(name).map_or(0, |name| name.len()) + 2 + value
}

fn fields_of(value: &RawValue) -> Option<Fields> {
    serde_json::from_str(value.get()).ok().filter(|_| value.get().starts_with('{'))
}

fn is_list(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

/// Returns the first elements of a list that fit, and how many elements there were.
fn cut(list: &RawValue, max: usize) -> Option<(Box<RawValue>, usize)> {
    let elements: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
    let mut length = 0;
    let fits = |element: &&&RawValue| {
        length += element.get().len() + 1;
        length <= max
    };
    let kept: Vec<&RawValue> = elements.iter().take_while(fits).copied().collect();
    Some((to_raw_value(&kept).ok()?, elements.len()))
}

fn number(count: usize) -> Box<RawValue> {
    to_raw_value(&count).expect("a number serialises")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        notification::{Category, Notification, Priority},
        user::UserId,
    };

    const LIMIT: usize = 16 << 10;

    fn limited(data: &Value, limit: usize) -> Result<Value, TooLarge> {
        let at = crate::time::parse("2025-08-06T09:15:31Z").unwrap();
        let (category, priority) = (Category::SystemAlerts, Priority::Standard);
        let notification = Notification::new("event", category, priority, at, data);
        let user = UserId::new(&"😀".repeat(256)).unwrap();
        let text = notification.limited_to(limit)?.to_json(&user);
        assert!(text.len() <= limit, "{} bytes", text.len());
        let frame: Value = serde_json::from_str(&text).unwrap();
        Ok(frame["data"].clone())
    }

    #[test]
    fn a_list_is_cut_to_fit_and_its_full_length_is_stated() {
        let element = json!({"essay_id": "e", "message": "m".repeat(80)});
        let data = json!({"batch_id": "b", "errors": vec![element.clone(); 1_000], "few": [1, 2]});
        let cut = limited(&data, LIMIT).unwrap();
        let kept = cut["errors"].as_array().unwrap();
        assert!((80..160).contains(&kept.len()), "{} elements", kept.len());
        assert!(kept.iter().all(|kept| *kept == element));
        assert_eq!(cut["errors_count"], 1_000);
        assert_eq!([&cut["truncated"], &cut["batch_id"]], [&json!(true), &json!("b")]);
        assert_eq!([&cut["few"], &cut["few_count"]], [&json!([1, 2]), &Value::Null]);
        assert_eq!(cut["category"], "system_alerts");
    }

    #[test]
    fn a_notification_within_the_limit_is_unchanged() {
        let data = json!({"errors": [1, 2, 3]});
        let kept = limited(&data, LIMIT).unwrap();
        assert_eq!([&kept["errors"], &kept["truncated"]], [&json!([1, 2, 3]), &Value::Null]);
    }

    #[test]
    fn several_lists_share_the_space() {
        let long = vec!["x".repeat(100); 1_000];
        let cut = limited(&json!({"a": long, "b": long}), LIMIT).unwrap();
        let lengths = ["a", "b"].map(|name| cut[name].as_array().unwrap().len());
        assert!(lengths.iter().all(|kept| (50..80).contains(kept)), "{lengths:?}");
    }

    #[test]
    fn a_field_with_the_name_of_a_count_is_not_replaced() {
        let long = vec!["x".repeat(100); 1_000];
        let data =
            json!({"a": long, "a_count": [1], "b": [1], "b_count": 7, "c": [], "c_count": "c"});
        let cut = limited(&data, LIMIT).unwrap();
        assert_eq!(cut["truncated"], true);
        for field in ["a_count", "b", "b_count", "c", "c_count"] {
            assert_eq!(cut[field], data[field], "{field}");
        }
    }

    #[test]
    fn lists_inside_objects_and_many_short_lists_are_cut() {
        let long = vec!["x".repeat(100); 1_000];
        let data = json!({"a": {"b": {"c": long, "d": 1}, "e": "f"}, "g": "h".repeat(5_000)});
        let cut = limited(&data, LIMIT).unwrap();
        let inner = &cut["a"]["b"];
        assert!((50..120).contains(&inner["c"].as_array().unwrap().len()), "{inner}");
        assert_eq!([&inner["c_count"], &inner["d"]], [1_000, 1]);
        assert_eq!(cut["a"]["e"], "f");
        assert_eq!([&cut["g"], &cut["truncated"]], [&data["g"], &json!(true)]);
        let short = (0..400).map(|number| (format!("list{number}"), json!(["y".repeat(40)])));
        let cut = limited(&Value::Object(short.collect()), LIMIT).unwrap();
        assert_eq!(cut["list7_count"], 1);
    }

    #[test]
    fn what_no_cut_makes_fit_is_too_large() {
        let error = limited(&json!({"a": "x".repeat(LIMIT), "b": [1, 2]}), LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "the notification is too large (limit: 16384 bytes)");
    }
}
