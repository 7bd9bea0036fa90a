//! The records of a block, one after the other.

use std::sync::Arc;

use crate::data::Data;

/// The records of a list: moved out of it by its last owner, else cloned.
pub(crate) enum Records<T> {
    Own(std::vec::IntoIter<T>),
    Shared { block: Arc<Vec<T>>, at: usize },
}

impl<T: Data> Records<T> {
    pub(crate) fn of(block: Arc<Vec<T>>) -> Self {
        match Arc::try_unwrap(block) {
            Ok(records) => Self::Own(records.into_iter()),
            Err(block) => Self::Shared { block, at: 0 },
        }
    }
}

impl<T: Data> Iterator for Records<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match self {
            Self::Own(records) => records.next(),
            Self::Shared { block, at } => {
                let record = block.get(*at)?.clone();
                *at += 1;
                Some(record)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            Self::Own(records) => records.len(),
            Self::Shared { block, at } => block.len() - at,
        };
        (left, Some(left))
    }
}

impl<T: Data> ExactSizeIterator for Records<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_owner_gives_its_records_away_and_others_keep_theirs() {
        let block = Arc::new(vec![String::from("a"), String::from("b")]);
        let place = |records: &[String]| records.iter().map(|r| r.as_ptr()).collect::<Vec<_>>();
        let places = place(&block);
        let copies: Vec<String> = Records::of(Arc::clone(&block)).collect();
        assert_eq!(copies, *block);
        assert_ne!(place(&copies), places);
        let moved: Vec<String> = Records::of(block).collect();
        assert_eq!((&moved, place(&moved)), (&copies, places));
    }

    #[test]
    fn how_many_are_left_is_known() {
        let block = Arc::new(vec![1, 2, 3]);
        let mut shared = Records::of(Arc::clone(&block));
        assert_eq!((shared.len(), shared.next(), shared.len()), (3, Some(1), 2));
        assert_eq!(
            (shared.by_ref().last(), shared.next(), shared.len()),
            (Some(3), None, 0)
        );
        drop(shared);
        let mut own = Records::of(block);
        assert_eq!((own.next(), own.len()), (Some(1), 2));
    }
}
