//! Metrics as documented fields: the sentence on a field is the help text of its series.

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

/// A kind of series. One without labels or buckets ignores them.
pub trait Series: Collector + Clone + 'static {
    /// Creates the series.
    ///
    /// # Errors
    /// When its name or a label is not valid.
    fn create(options: Opts, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self>;
}

macro_rules! series {
    ($($kind:ident: |$options:ident, $labels:pat_param, $buckets:pat_param| $create:expr;)+) => {$(
        impl Series for $kind {
            fn create($options: Opts, $labels: &[&str], $buckets: &[f64]) -> prometheus::Result<Self> {
                $create
            }
        }
    )+};
}

series! {
    IntCounter: |options, _, _| Self::with_opts(options);
    IntCounterVec: |options, labels, _| Self::new(options, labels);
    IntGauge: |options, _, _| Self::with_opts(options);
    IntGaugeVec: |options, labels, _| Self::new(options, labels);
    Gauge: |options, _, _| Self::with_opts(options);
    Histogram: |options, _, buckets|
        Self::with_opts(HistogramOpts::from(options).buckets(buckets.to_vec()));
    HistogramVec: |options, labels, buckets|
        Self::new(HistogramOpts::from(options).buckets(buckets.to_vec()), labels);
}

/// Creates a series and registers it.
///
/// # Errors
/// When its name or a label is not valid, or its name is taken.
pub fn register<S: Series>(
    registry: &Registry,
    (name, help): (&str, &str),
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<S> {
    let series = S::create(Opts::new(name, help.trim()), labels, buckets)?;
    registry.register(Box::new(series.clone()))?;
    Ok(series)
}

/// A registry that already has what the system knows of this process.
///
/// # Errors
/// Never in a new registry.
pub fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Declares a struct of series, each `/// help` `name: Kind = "series_name" [labels] {buckets}`,
/// with a constructor that registers them.
#[macro_export]
macro_rules! metrics {
    (
        $(#[doc = $about:literal])+
        pub struct $Metrics:ident {
            $(
                #[doc = $help:literal]
                $field:ident: $Kind:ty = $name:literal
                    $([$($label:literal),+])? $({$($bucket:literal),+})?,
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $Metrics {
            /// Holds all of them.
            pub registry: ::prometheus::Registry,
            $(#[doc = $help] pub $field: $Kind,)+
        }

        impl $Metrics {
            /// Creates and registers all series.
            ///
            /// # Errors
            /// When two series have the same name.
            pub fn new() -> ::prometheus::Result<Self> {
                let registry = $crate::metrics::registry()?;
                Ok(Self {
                    $($field: $crate::metrics::register(
                        &registry, ($name, $help), &[$($($label),+)?], &[$($($bucket),+)?],
                    )?,)+
                    registry,
                })
            }
        }
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro declares what a service exports")]
mod tests {
    use prometheus::{Histogram, IntCounterVec, TextEncoder};

    crate::metrics! {
        /// For this test.
        pub struct Metrics {
            /// Things that happened.
            things: IntCounterVec = "things_total" ["kind"],
            /// How long they took.
            seconds: Histogram = "seconds" {0.5, 1.0},
        }
    }

    #[test]
    fn a_series_has_its_sentence_labels_and_buckets() {
        let metrics = Metrics::new().unwrap();
        metrics.things.with_label_values(&["odd"]).inc();
        metrics.seconds.observe(0.7);
        let text = TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
        for line in [
            "# HELP things_total Things that happened.",
            "things_total{kind=\"odd\"} 1",
            "seconds_bucket{le=\"0.5\"} 0",
            "seconds_bucket{le=\"1\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }
}
