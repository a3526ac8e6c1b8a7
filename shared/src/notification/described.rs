//! What schemas say of the notifications whose wording is fixed.

use schemars::{JsonSchema as _, Schema};

use super::{Category, Data, Frame, Priority, Told};

pub use schemars::SchemaGenerator;

/// One kind of notification.
#[derive(Debug)]
pub struct Description {
    /// Its `event`.
    pub event: &'static str,
    /// What it is about.
    pub category: Category,
    /// How urgent it is.
    pub priority: Priority,
    /// The whole of it, as the worker writes it.
    pub frame: Schema,
}

/// What a browser may receive of an event.
pub trait Described {
    /// Says what it is, unless that is not fixed.
    fn describe(generator: &mut SchemaGenerator) -> Option<Description>;
}

impl<T: Told> Described for T {
    fn describe(generator: &mut SchemaGenerator) -> Option<Description> {
        let frame = Frame::<Data<T>>::json_schema(generator);
        let (event, category, priority) = (T::EVENT, T::CATEGORY, T::PRIORITY);
        Some(Description { event, category, priority, frame })
    }
}

impl Described for () {
    fn describe(_: &mut SchemaGenerator) -> Option<Description> {
        None
    }
}
