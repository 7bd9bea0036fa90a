//! The numbered behaviours: S for streams, C for the core and what stands on it.

use std::fmt;

/// How many items of each series there are.
const SERIES: [(char, u16); 2] = [('S', 236), ('C', 308)];

/// One behaviour, such as S-104.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    series: char,
    number: u16,
}

impl Item {
    /// Reads exactly `S-104` or `C-001`, known or not.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (series, digits) = text.split_once('-')?;
        let series = SERIES
            .iter()
            .map(|(letter, _)| *letter)
            .find(|c| series == c.to_string())?;
        let is_number = digits.len() == 3 && digits.chars().all(|c| c.is_ascii_digit());
        Some(Self {
            series,
            number: digits.parse().ok().filter(|_| is_number)?,
        })
    }

    /// Whether the series goes that far.
    pub(super) fn is_known(self) -> bool {
        SERIES
            .iter()
            .any(|(series, last)| self.series == *series && (1..=*last).contains(&self.number))
    }

    /// Every known item.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        SERIES
            .iter()
            .flat_map(|&(series, last)| (1..=last).map(move |number| Self { series, number }))
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:03}", self.series, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_letter_a_dash_and_three_digits_are_an_item() {
        assert_eq!(Item::parse("S-104").expect("an item").to_string(), "S-104");
        assert_eq!(Item::parse("C-001").expect("an item").to_string(), "C-001");
        for text in [
            "S-1", "S-1044", "S104", "X-001", "S-+10", "SC-001", "-001", "S-10a",
        ] {
            assert_eq!(Item::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_series_end_where_they_end() {
        let known = |text| Item::parse(text).expect("an item").is_known();
        assert!(known("S-236") && known("C-308") && known("S-001"));
        assert!(!known("S-237") && !known("C-309") && !known("S-000"));
        assert_eq!(Item::all().count(), 236 + 308);
        assert!(Item::all().all(Item::is_known));
    }
}
