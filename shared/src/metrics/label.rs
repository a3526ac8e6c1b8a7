//! Metric labels as enums.

/// The values of a label, or of a pair of labels. [`label!`](crate::label!) implements it for an
/// enum.
pub trait Label: Copy + Send + Sync + 'static {
    /// The number of values.
    const COUNT: usize;

    /// Returns the names of the labels.
    fn keys() -> Vec<&'static str>;

    /// Returns every value, in the order of [`Label::index`].
    fn all() -> Vec<Self>;

    /// Returns the index of this value, from 0 to `COUNT - 1`.
    fn index(self) -> usize;

    /// Returns the text of this value for each label.
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

/// Declares an enum that is a metric label: `pub enum Outcome as "outcome" { Published =
/// "published", }`, each value with a doc comment.
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
            /// Returns the text of this value in metrics and logs.
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
