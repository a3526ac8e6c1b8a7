//! What must hold whatever comes in, one function for each way in. A function takes any input and
//! panics if a promise is broken; property tests, fuzz targets and the kept corpus share it.

pub mod records;
pub mod texts;
pub mod tokens;
