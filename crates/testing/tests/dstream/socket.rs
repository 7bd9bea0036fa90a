//! To come.
pub(crate) fn cases() -> Vec<crate::support::Case> {
    Vec::new()
}
