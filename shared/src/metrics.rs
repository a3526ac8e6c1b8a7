//! Declaring Prometheus metrics. [`metrics!`](crate::metrics!) turns a struct into registered
//! metrics; the doc sentence of a field is its help text. [`label!`](crate::label!) declares an
//! enum as a label: every value is exported from the start, so that a rate over its first increment
//! is correct, and updating looks nothing up.
//!
//! ```
//! use prometheus::{IntCounter, Registry, TextEncoder};
//! use shared::metrics::Labeled;
//!
//! shared::label! {
//!     /// How a job ended.
//!     pub enum JobResult as "result" {
//!         /// It succeeded.
//!         Succeeded = "succeeded",
//!         /// It failed.
//!         Failed = "failed",
//!     }
//! }
//!
//! shared::metrics! {
//!     /// The metrics of an example.
//!     pub struct Metrics {
//!         /// Finished jobs by result: succeeded, failed.
//!         pub jobs: Labeled<JobResult, IntCounter> = "jobs_total", ();
//!     }
//! }
//!
//! let registry = Registry::new();
//! let metrics = Metrics::new(&registry);
//! metrics.jobs.of(JobResult::Failed).inc();
//!
//! let page = TextEncoder::new().encode_to_string(&registry.gather())?;
//! assert!(page.contains("# HELP jobs_total Finished jobs by result: succeeded, failed."));
//! assert!(page.contains(r#"jobs_total{result="succeeded"} 0"#));
//! assert!(page.contains(r#"jobs_total{result="failed"} 1"#));
//! # Ok::<(), prometheus::Error>(())
//! ```

mod field;
mod label;

use prometheus::{IntGauge, Opts, Registry};

use crate::build_info::{COMMIT, VERSION};
pub use field::{Labeled, Metric, MetricField, PartitionGauge, TopicGauge};
pub use label::Label;

/// Bucket bounds for latencies, in seconds: from an idle system to an outage. Every stage of the
/// pipeline uses the same, so that stages can be compared and added up.
pub const LATENCY_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0];

/// Bucket bounds for a round trip to a server, in seconds: up to a time-out.
pub const ROUND_TRIP_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Returns a registry that already exports the build, and on Linux memory, CPU and file descriptors
/// of the process.
///
/// # Errors
/// If these metrics cannot be registered.
pub fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let build = Opts::new("notifications_build_info", "Always 1; version and commit of the build.");
    let build = build.const_label("version", VERSION).const_label("commit", COMMIT);
    let build = IntGauge::with_opts(build)?;
    build.set(1);
    registry.register(Box::new(build))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Declares a struct of metrics, with fields `name: Type = "metric_name", options;`. The doc
/// comment of a field is the help text of the metric; `new` registers every metric.
#[macro_export]
macro_rules! metrics {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident {
            $($(#[doc = $help:literal])+ $field_vis:vis $field:ident: $type:ty = $metric:literal, $options:expr;)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        $vis struct $name {
            $($(#[doc = $help])+ $field_vis $field: $type,)+
        }

        impl $name {
            /// Creates the metrics and registers them.
            ///
            /// # Panics
            /// If two metrics share a name: a mistake in the declaration, which any start shows.
            #[must_use]
            $vis fn new(registry: &::prometheus::Registry) -> Self {
                $(
                    let help = concat!($($help),+).trim();
                    let opts = ::prometheus::Opts::new($metric, help);
                    let $field = <$type as $crate::metrics::MetricField>::create(opts, $options)
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
    use prometheus::{IntCounter, Registry};

    crate::metrics! {
        /// Test metrics.
        struct Metrics {
            /// Records read,
            /// in total.
            records: IntCounter = "records_total", ();
        }
    }

    #[test]
    fn the_doc_sentence_of_a_field_is_its_help_text() {
        let registry = Registry::new();
        Metrics::new(&registry).records.inc();
        let families = registry.gather();
        assert_eq!(families[0].name(), "records_total");
        assert_eq!(families[0].help(), "Records read, in total.");
    }
}
