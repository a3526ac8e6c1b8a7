//! What has been said once and need not be said again.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// More different texts than this are not worth a line each; producers choose them.
const MOST: usize = 1_000;

/// Texts that were announced. The set is bounded: once it is full, nothing is news.
#[derive(Debug, Default)]
pub struct Announced(Mutex<HashSet<Box<str>>>);

impl Announced {
    /// Whether this is the first time that `text` is to be announced.
    pub fn is_news(&self, text: &str) -> bool {
        // The set is whole after every step, so a panic elsewhere does not spoil it.
        let mut announced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        announced.len() < MOST && !announced.contains(text) && announced.insert(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_news_once_and_their_number_is_bounded() {
        let announced = Announced::default();
        assert!(announced.is_news("a") && !announced.is_news("a") && announced.is_news("b"));
        let news = (0..2 * MOST).filter(|n| announced.is_news(&n.to_string())).count();
        assert_eq!(news, MOST - 2);
    }
}
