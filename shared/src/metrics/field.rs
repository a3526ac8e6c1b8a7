//! The types that a field of [`metrics!`](crate::metrics!) can have.

use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    core::{Collector, Desc, MetricVec, MetricVecBuilder},
    proto::MetricFamily,
};

use super::label::Label;

/// A type that a field of [`metrics!`](crate::metrics!) can have.
pub trait MetricField: Collector + Clone + Sized + 'static {
    /// What a declaration states besides name and help text.
    type Options;

    /// Creates the metric without registering it.
    ///
    /// # Errors
    /// If the name or the options are invalid.
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

impl MetricField for Histogram {
    /// The upper bounds of the buckets.
    type Options = &'static [f64];

    fn create(opts: Opts, buckets: Self::Options) -> prometheus::Result<Self> {
        Self::with_opts(HistogramOpts { common_opts: opts, buckets: buckets.to_vec() })
    }
}

/// The collector of all label values, and the metric of each value in the order of
/// [`Label::index`].
type Family<M> = (Arc<dyn Collector>, Arc<[M]>);

/// A metric that can have labels.
pub trait Metric: Clone + Send + Sync + 'static {
    /// What a declaration states besides name and help text.
    type Options;

    /// Creates the metrics of all values of `L`.
    ///
    /// # Errors
    /// If a name or the options are invalid.
    fn family<L: Label>(opts: Opts, options: Self::Options) -> prometheus::Result<Family<Self>>;
}

impl Metric for IntCounter {
    type Options = ();

    fn family<L: Label>(opts: Opts, (): ()) -> prometheus::Result<Family<Self>> {
        resolve::<L, _>(IntCounterVec::new(opts, &L::keys())?)
    }
}

impl Metric for IntGauge {
    type Options = ();

    fn family<L: Label>(opts: Opts, (): ()) -> prometheus::Result<Family<Self>> {
        resolve::<L, _>(IntGaugeVec::new(opts, &L::keys())?)
    }
}

impl Metric for Histogram {
    /// The upper bounds of the buckets.
    type Options = &'static [f64];

    fn family<L: Label>(opts: Opts, buckets: Self::Options) -> prometheus::Result<Family<Self>> {
        let opts = HistogramOpts { common_opts: opts, buckets: buckets.to_vec() };
        resolve::<L, _>(HistogramVec::new(opts, &L::keys())?)
    }
}

fn resolve<L, B>(family: MetricVec<B>) -> prometheus::Result<Family<B::M>>
where
    L: Label,
    B: MetricVecBuilder + 'static,
{
    let metric = |label: L| family.get_metric_with_label_values(&label.values());
    let metrics = L::all().into_iter().map(metric).collect::<prometheus::Result<_>>()?;
    Ok((Arc::new(family), metrics))
}

/// A metric for each value of a label, or of two. Cheap to clone.
#[derive(Clone)]
pub struct Labeled<L, M> {
    family: Arc<dyn Collector>,
    metrics: Arc<[M]>,
    label: PhantomData<L>,
}

impl<L: Label, M> Labeled<L, M> {
    /// Returns the metric of one label value.
    #[must_use]
    pub fn of(&self, label: L) -> &M {
        &self.metrics[label.index()]
    }
}

impl<L, M> fmt::Debug for Labeled<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labeled").finish_non_exhaustive()
    }
}

impl<L: Label, M: Metric> MetricField for Labeled<L, M> {
    type Options = M::Options;

    fn create(opts: Opts, options: M::Options) -> prometheus::Result<Self> {
        let (family, metrics) = M::family::<L>(opts, options)?;
        Ok(Self { family, metrics, label: PhantomData })
    }
}

impl<L: Label, M: Metric> Collector for Labeled<L, M> {
    fn desc(&self) -> Vec<&Desc> {
        self.family.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.family.collect()
    }
}

/// A gauge per Kafka topic, in the label `topic`. Topic names are settings, so no enum lists them.
#[derive(Clone, Debug)]
pub struct TopicGauge(IntGaugeVec);

impl TopicGauge {
    /// Sets the gauges of these topics and removes those of all others.
    pub fn replace(&self, values: &BTreeMap<String, i64>) {
        let values = values.iter().map(|(topic, value)| (vec![topic.clone()], *value));
        replace(&self.0, &values.collect());
    }
}

impl MetricField for TopicGauge {
    type Options = ();

    fn create(opts: Opts, (): ()) -> prometheus::Result<Self> {
        Ok(Self(IntGaugeVec::new(opts, &["topic"])?))
    }
}

impl Collector for TopicGauge {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.collect()
    }
}

/// A gauge per Kafka partition, in the labels `partition` and `topic`.
#[derive(Clone, Debug)]
pub struct PartitionGauge(IntGaugeVec);

impl PartitionGauge {
    /// Sets the gauges of these partitions and removes those of all others.
    pub fn replace(&self, values: &BTreeMap<(String, i32), i64>) {
        let values = values.iter().map(|((topic, partition), value)| {
            (vec![partition.to_string(), topic.clone()], *value)
        });
        replace(&self.0, &values.collect());
    }
}

impl MetricField for PartitionGauge {
    type Options = ();

    fn create(opts: Opts, (): ()) -> prometheus::Result<Self> {
        Ok(Self(IntGaugeVec::new(opts, &["partition", "topic"])?))
    }
}

impl Collector for PartitionGauge {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.collect()
    }
}

/// Sets the gauges of these label values, which are in the order of the labels' names, and removes
/// all others.
fn replace(gauge: &IntGaugeVec, values: &BTreeMap<Vec<String>, i64>) {
    for (labels, value) in values {
        gauge.with_label_values(labels).set(*value);
    }
    for family in gauge.collect() {
        for metric in family.get_metric() {
            let labels = metric.get_label().iter().map(|label| label.value().to_owned());
            let labels: Vec<String> = labels.collect();
            if !values.contains_key(&labels) {
                // Fails only if the series is already gone.
                gauge.remove_label_values(&labels).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    use super::*;

    crate::label! {
        /// A test label.
        enum Outcome as "outcome" {
            /// First value.
            Published = "published",
            /// Second value.
            Duplicate = "duplicate",
        }
    }

    crate::label! {
        /// Another test label.
        enum Priority as "priority" {
            /// First value.
            Low = "low",
            /// Second value.
            High = "high",
        }
    }

    fn page(metric: &(impl Collector + Clone + 'static)) -> String {
        let registry = Registry::new();
        registry.register(Box::new(metric.clone())).unwrap();
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn every_label_value_is_exported_from_the_start_and_counted_separately() {
        let opts = Opts::new("records_total", "Records.");
        let records = Labeled::<(Outcome, Priority), IntCounter>::create(opts, ()).unwrap();
        records.of((Outcome::Duplicate, Priority::High)).inc_by(3);
        let page = page(&records);
        for line in [
            r#"records_total{outcome="duplicate",priority="high"} 3"#,
            r#"records_total{outcome="duplicate",priority="low"} 0"#,
            r#"records_total{outcome="published",priority="high"} 0"#,
            r#"records_total{outcome="published",priority="low"} 0"#,
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }

    #[test]
    fn replacing_topic_gauges_removes_topics_that_are_not_named() {
        let lag = TopicGauge::create(Opts::new("lag", "Lag."), ()).unwrap();
        lag.replace(&BTreeMap::from([("a".into(), 1), ("b".into(), 2)]));
        lag.replace(&BTreeMap::from([("b".into(), 3)]));
        let page = page(&lag);
        assert!(page.contains(r#"lag{topic="b"} 3"#) && !page.contains(r#"topic="a""#), "{page}");
    }

    #[test]
    fn replacing_partition_gauges_removes_partitions_that_are_not_named() {
        let offsets = PartitionGauge::create(Opts::new("offset", "Offset."), ()).unwrap();
        offsets.replace(&BTreeMap::from([(("t".into(), 0), 1), (("t".into(), 1), 2)]));
        offsets.replace(&BTreeMap::from([(("t".into(), 1), 3)]));
        let page = page(&offsets);
        let kept = r#"offset{partition="1",topic="t"} 3"#;
        assert!(page.contains(kept) && !page.contains(r#"partition="0""#), "{page}");
    }
}
