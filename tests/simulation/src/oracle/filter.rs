//! The filters of clients.

const CLASSES: &str = "class_management";
const BATCHES: &str = "batch_progress";

/// Which of the two categories of the workload pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    classes: bool,
    batches: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { classes: true, batches: true }
    }
}

impl Filter {
    /// The filters that a client may set.
    pub(crate) const ALL: [Self; 3] = [
        Self { classes: true, batches: true },
        Self { classes: false, batches: true },
        Self { classes: true, batches: false },
    ];

    /// Returns the categories as a client names them; without any, all pass.
    pub(crate) fn categories(self) -> Vec<&'static str> {
        match self {
            Self { classes: true, batches: true } => Vec::new(),
            Self { classes, .. } => vec![if classes { CLASSES } else { BATCHES }],
        }
    }

    pub(super) fn passes(self, category: &str) -> bool {
        (self.classes && category == CLASSES) || (self.batches && category == BATCHES)
    }

    /// Returns the filter that passes what one of both passes.
    pub(super) fn or(self, other: Self) -> Self {
        Self { classes: self.classes || other.classes, batches: self.batches || other.batches }
    }

    /// Returns the filter that passes what both pass.
    pub(super) fn and(self, other: Self) -> Self {
        Self { classes: self.classes && other.classes, batches: self.batches && other.batches }
    }
}
