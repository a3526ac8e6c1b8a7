//! Metrics with labels whose values are known beforehand: each is resolved once, so that counting
//! looks nothing up, and each is exported from the start, so that its first increment shows.

use std::{fmt, marker::PhantomData, sync::Arc};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    core::{Collector, Desc, MetricVec, MetricVecBuilder},
    proto::MetricFamily,
};

use super::MetricField;

/// The values of a label, or of two. [`label!`](crate::label!) makes one of an enum.
pub trait Label: Copy + Send + Sync + 'static {
    /// How many there are.
    const COUNT: usize;

    /// The names of the labels.
    fn keys() -> Vec<&'static str>;

    /// Every value, in the order of their places.
    fn all() -> Vec<Self>;

    /// The place of this one among them.
    fn index(self) -> usize;

    /// What it is called, for each of the labels.
    fn values(self) -> Vec<&'static str>;
}

impl<A: Label, B: Label> Label for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn keys() -> Vec<&'static str> {
        [A::keys(), B::keys()].concat()
    }

    fn all() -> Vec<Self> {
        A::all().into_iter().flat_map(|a| B::all().into_iter().map(move |b| (a, b))).collect()
    }

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }

    fn values(self) -> Vec<&'static str> {
        [self.0.values(), self.1.values()].concat()
    }
}

/// All series of a name, to be exported, and each of them, to be counted with.
pub type Family<K> = (Arc<dyn Collector>, Arc<[K]>);

/// A kind of series that can be had for each value of a label.
pub trait Metric: Clone + Send + Sync + 'static {
    /// What a declaration says beyond name and help.
    type Options;

    /// Makes the series of all values of `L`, in the order of their places.
    ///
    /// # Errors
    /// When a name or the options are not valid.
    fn family<L: Label>(opts: Opts, options: Self::Options) -> prometheus::Result<Family<Self>>;
}

impl Metric for IntCounter {
    type Options = ();

    fn family<L: Label>(opts: Opts, (): ()) -> prometheus::Result<Family<Self>> {
        each::<L, _>(IntCounterVec::new(opts, &L::keys())?)
    }
}

impl Metric for IntGauge {
    type Options = ();

    fn family<L: Label>(opts: Opts, (): ()) -> prometheus::Result<Family<Self>> {
        each::<L, _>(IntGaugeVec::new(opts, &L::keys())?)
    }
}

impl Metric for Histogram {
    /// The upper bounds of the buckets.
    type Options = &'static [f64];

    fn family<L: Label>(opts: Opts, buckets: Self::Options) -> prometheus::Result<Family<Self>> {
        let opts = HistogramOpts { common_opts: opts, buckets: buckets.to_vec() };
        each::<L, _>(HistogramVec::new(opts, &L::keys())?)
    }
}

fn each<L, B>(family: MetricVec<B>) -> prometheus::Result<Family<B::M>>
where
    L: Label,
    B: MetricVecBuilder + 'static,
{
    let one = |label: L| family.get_metric_with_label_values(&label.values());
    let each = L::all().into_iter().map(one).collect::<prometheus::Result<_>>()?;
    Ok((Arc::new(family), each))
}

/// A series for each value of a label. Cheap to clone.
#[derive(Clone)]
pub struct Labeled<L, K> {
    family: Arc<dyn Collector>,
    each: Arc<[K]>,
    label: PhantomData<L>,
}

impl<L: Label, K> Labeled<L, K> {
    /// The series of one value.
    #[must_use]
    pub fn of(&self, label: L) -> &K {
        &self.each[label.index()]
    }
}

impl<L, K> fmt::Debug for Labeled<L, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labeled").finish_non_exhaustive()
    }
}

impl<L: Label, K: Metric> MetricField for Labeled<L, K> {
    type Options = K::Options;

    fn create(opts: Opts, options: K::Options) -> prometheus::Result<Self> {
        let (family, each) = K::family::<L>(opts, options)?;
        Ok(Self { family, each, label: PhantomData })
    }
}

impl<L: Label, K: Metric> Collector for Labeled<L, K> {
    fn desc(&self) -> Vec<&Desc> {
        self.family.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.family.collect()
    }
}

/// Declares an enum that is a label: `pub enum Colour as "colour" { Red = "red", }`, each with
/// its sentence.
#[macro_export]
macro_rules! label {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident as $key:literal {
            $($(#[$each:meta])* $variant:ident = $label:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name {
            $($(#[$each])* $variant,)+
        }

        impl $name {
            /// Its name in metrics and logs.
            #[must_use]
            $vis fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }
        }

        impl $crate::metrics::Label for $name {
            const COUNT: usize = [$($label),+].len();

            fn keys() -> Vec<&'static str> {
                vec![$key]
            }

            fn all() -> Vec<Self> {
                vec![$(Self::$variant),+]
            }

            fn index(self) -> usize {
                self as usize
            }

            fn values(self) -> Vec<&'static str> {
                vec![self.label()]
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    use super::*;

    crate::label! {
        /// A colour.
        enum Colour as "colour" {
            /// Ripe.
            Red = "red",
            /// Not yet.
            Green = "green",
        }
    }

    crate::label! {
        /// A size.
        enum Size as "size" {
            /// Large.
            Large = "large",
            /// Small.
            Small = "small",
        }
    }

    #[test]
    fn every_series_is_there_from_the_start_and_each_is_its_own() {
        let registry = Registry::new();
        let opts = Opts::new("apples_total", "Apples.");
        let apples = Labeled::<(Colour, Size), IntCounter>::create(opts, ()).unwrap();
        registry.register(Box::new(apples.clone())).unwrap();
        apples.of((Colour::Green, Size::Small)).inc_by(3);
        let page = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            r#"apples_total{colour="green",size="large"} 0"#,
            r#"apples_total{colour="green",size="small"} 3"#,
            r#"apples_total{colour="red",size="large"} 0"#,
            r#"apples_total{colour="red",size="small"} 0"#,
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }
}
