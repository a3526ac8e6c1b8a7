//! Deserializers of payload fields: whole numbers in any JSON notation, and objects only where
//! structs are expected (serde's derive also accepts arrays).

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Number, value::RawValue};

/// Strings that producers send for values that are not JSON numbers.
const NOT_A_NUMBER: [&str; 3] = [r#""NaN""#, r#""Infinity""#, r#""-Infinity""#];

/// Deserializes a whole number from 0 to 2^64 - 1 in any notation, such as `3.0` or `1e2`. Other
/// numbers become `None`.
pub(super) fn whole_number<'de, D: Deserializer<'de>>(de: D) -> Result<Option<u64>, D::Error> {
    let Some(raw) = number_text(de)? else { return Ok(None) };
    let text = raw.get();
    let whole = |number: &f64| number.fract() == 0.0;
    // Adding 0.0 removes the sign of -0.
    let rewritten = || text.parse().ok().filter(whole).map(|number| format!("{:.0}", number + 0.0));
    Ok(text.parse().ok().or_else(|| rewritten()?.parse().ok()))
}

/// Deserializes a number; one outside the range of a double becomes `None`.
pub(super) fn number<'de, D: Deserializer<'de>>(de: D) -> Result<Option<Number>, D::Error> {
    let raw = number_text(de)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

fn number_text<'de, D: Deserializer<'de>>(de: D) -> Result<Option<Box<RawValue>>, D::Error> {
    let Some(raw) = Option::<Box<RawValue>>::deserialize(de)? else { return Ok(None) };
    match raw.get() {
        text if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => Ok(Some(raw)),
        text if NOT_A_NUMBER.contains(&text) => Ok(None),
        _ => Err(D::Error::custom("not a number")),
    }
}

/// Deserializes an object as a struct.
pub(super) fn object<'de, D, T>(de: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(de)?.map(|object| object.0))
}

/// Deserializes a list of objects as structs.
pub(super) fn objects<'de, D, T>(de: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Option::<Vec<Object<T>>>::deserialize(de)?;
    Ok(objects.map(|objects| objects.into_iter().map(|object| object.0).collect()))
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        de.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}
