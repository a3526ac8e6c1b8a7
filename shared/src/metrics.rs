//! Declaring metrics: [`metrics!`](crate::metrics!) turns a struct with documented fields into
//! registered series, so that the sentence above a field is also its help text.

mod label;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

pub use label::{Family, Label, Labeled, Metric};

/// Buckets for how late something is, in seconds: from a machine at rest to an outage. The same
/// for every stage, so that stages can be compared and added up.
pub const LATENCY_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0];

/// Buckets for a round trip to a server, in seconds: up to a time-out.
pub const ROUND_TRIP_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// A kind of series that [`metrics!`](crate::metrics!) can declare.
pub trait MetricField: Collector + Clone + Sized + 'static {
    /// What a declaration says beyond name and help.
    type Options;

    /// Makes the series; it is not registered yet.
    ///
    /// # Errors
    /// When the name or the options are not valid.
    fn create(opts: Opts, options: Self::Options) -> prometheus::Result<Self>;
}

impl MetricField for IntCounter {
    type Options = ();

    fn create(opts: Opts, (): ()) -> prometheus::Result<Self> {
        Self::with_opts(opts)
    }
}

impl MetricField for IntGauge {
    type Options = ();

    fn create(opts: Opts, (): ()) -> prometheus::Result<Self> {
        Self::with_opts(opts)
    }
}

impl MetricField for IntCounterVec {
    /// The name of the label, and the values that are exported from the start: the first
    /// increment of a series that was not there does not show in a rate.
    type Options = (&'static str, &'static [&'static str]);

    fn create(opts: Opts, (label, values): Self::Options) -> prometheus::Result<Self> {
        let counters = Self::new(opts, &[label])?;
        for value in values {
            counters.get_metric_with_label_values(&[value])?;
        }
        Ok(counters)
    }
}

impl MetricField for IntGaugeVec {
    /// The names of the labels.
    type Options = &'static [&'static str];

    fn create(opts: Opts, labels: Self::Options) -> prometheus::Result<Self> {
        Self::new(opts, labels)
    }
}

impl MetricField for Histogram {
    /// The upper bounds of the buckets.
    type Options = &'static [f64];

    fn create(opts: Opts, buckets: Self::Options) -> prometheus::Result<Self> {
        Self::with_opts(HistogramOpts { common_opts: opts, buckets: buckets.to_vec() })
    }
}

/// A registry with what the system knows of this process; on Linux that is memory, CPU and files.
///
/// # Errors
/// When the system does not tell.
pub fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Declares the metrics of a service: `field: Metric = "name", options;` under the sentence that
/// becomes the help text. The struct gets a `new` that registers every series.
#[macro_export]
macro_rules! metrics {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $($(#[doc = $help:literal])+ pub $field:ident: $kind:ty = $series:literal, $options:expr;)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[doc = $help])+ pub $field: $kind,)+
        }

        impl $name {
            /// Makes the series and registers them.
            ///
            /// # Panics
            /// If two series share a name: an error in the declaration, which any start shows.
            #[must_use]
            pub fn new(registry: &::prometheus::Registry) -> Self {
                $(
                    let help = concat!($($help),+).trim();
                    let opts = ::prometheus::Opts::new($series, help);
                    let $field = <$kind as $crate::metrics::MetricField>::create(opts, $options)
                        .expect("the declaration of a metric is valid");
                    registry
                        .register(Box::new($field.clone()))
                        .expect("every metric has a name of its own");
                )+
                Self { $($field),+ }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounterVec, Registry};

    #[expect(unreachable_pub, reason = "the macro is made for the metrics of a service")]
    mod service {
        use super::IntCounterVec;

        crate::metrics! {
            /// Test metrics.
            pub struct Metrics {
                /// Apples picked,
                /// by colour.
                pub apples: IntCounterVec = "apples_total", ("colour", &["red", "green"]);
            }
        }
    }

    #[test]
    fn the_sentence_above_a_field_is_its_help_text() {
        let registry = Registry::new();
        service::Metrics::new(&registry).apples.with_label_values(&["red"]).inc();
        let families = registry.gather();
        assert_eq!(families[0].name(), "apples_total");
        assert_eq!(families[0].help(), "Apples picked, by colour.");
    }
}
