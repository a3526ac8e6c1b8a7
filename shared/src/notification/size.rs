//! The size limit of a notification: lists in its data are cut to fit.

use std::collections::{BTreeMap, BTreeSet};

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

/// The fields of an object.
type Fields = BTreeMap<String, Box<RawValue>>;

/// Cuts the lists of an object so that its text takes at most `budget` bytes; `None` if that is
/// not possible. Shorter lists are cut last.
fn cut_lists(data: &RawValue, budget: usize) -> Option<Box<RawValue>> {
    let mut fields: Fields = serde_json::from_str(data.get()).ok()?;
    let lists = fields.iter().filter(|(_, value)| is_list(value));
    let mut lists: Vec<String> = lists.map(|(name, _)| name.clone()).collect();
    lists.sort_by_key(|name| fields[name].get().len());
    fields.insert("truncated".into(), to_raw_value(&true).ok()?);
    // A field of that name stays as it is.
    let counts = lists.iter().map(|name| count_of(name)).filter(|name| !fields.contains_key(name));
    let counts: BTreeSet<String> = counts.collect();
    // As long as any count.
    fields.extend(counts.iter().map(|name| (name.clone(), number(usize::MAX))));
    let mut left = budget.checked_sub(length_without_lists(&fields))?;
    for (index, name) in lists.iter().enumerate() {
        let share = left / (lists.len() - index);
        let (length, count_field) = (fields[name].get().len(), counts.get(&count_of(name)));
        if length <= share {
            count_field.and_then(|field| fields.remove(field));
            left -= length;
        } else {
            let (kept, count) = cut(&fields[name], share)?;
            left = left.saturating_sub(kept.get().len());
            fields.insert(name.clone(), kept);
            fields.extend(count_field.map(|field| (field.clone(), number(count))));
        }
    }
    to_raw_value(&fields).ok()
}

fn is_list(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

/// Returns an upper bound of the length of an object whose lists are empty.
fn length_without_lists(fields: &Fields) -> usize {
    let value = |value: &RawValue| if is_list(value) { "[]".len() } else { value.get().len() };
    // A field has two quotes, a colon and a comma.
    let field = |name: &str, v: &RawValue| ESCAPED_BYTES * name.len() + 4 + value(v);
    "{}".len() + fields.iter().map(|(name, value)| field(name, value)).sum::<usize>()
}

/// Returns the first elements of a list whose text fits, and how many elements there were.
fn cut(list: &RawValue, max: usize) -> Option<(Box<RawValue>, usize)> {
    let elements: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
    let mut length = 2;
    let fits = |element: &&&RawValue| {
        length += element.get().len() + 1;
        length <= max
    };
    let kept: Vec<&RawValue> = elements.iter().take_while(fits).copied().collect();
    Some((to_raw_value(&kept).ok()?, elements.len()))
}

fn count_of(list: &str) -> String {
    format!("{list}_count")
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
    fn what_no_cut_makes_fit_is_too_large() {
        let error = limited(&json!({"a": "x".repeat(LIMIT), "b": [1, 2]}), LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "the notification is too large (limit: 16384 bytes)");
    }
}
