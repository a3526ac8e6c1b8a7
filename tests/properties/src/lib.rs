//! Properties that must hold for any input, one function per kind of input. Each panics if a
//! property is violated; property tests, fuzz targets and the stored corpus share them.

pub mod records;
pub mod texts;
pub mod tokens;
