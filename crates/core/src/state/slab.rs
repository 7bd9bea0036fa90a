//! Entries in pages: numbered slots that never move.

use std::num::NonZeroU32;

/// Slots of a page: pages are allocated whole, so that growth copies nothing and wastes little.
const PAGE: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 12;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// A slot's number, or none, in four bytes that are never all zero: a vacant slot needs no byte of
/// its own to say so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link(NonZeroU32);

impl Link {
    pub(super) fn to(at: u32) -> Self {
        Self(NonZeroU32::new(at.wrapping_add(1)).unwrap_or(NonZeroU32::MAX))
    }

    /// The slot's number; one that no slot has where there is none.
    pub(super) fn at(self) -> u32 {
        self.0.get() - 1
    }
}

/// One key with its state.
#[derive(Debug)]
pub(super) struct Entry<K, S> {
    pub(super) key: K,
    pub(super) state: S,
    /// The last batch that touched it.
    pub(super) touched_ms: i64,
    /// Neighbours in the order of touching.
    pub(super) older: Link,
    pub(super) newer: Link,
}

#[derive(Debug)]
enum Slot<K, S> {
    /// The next vacant slot.
    Vacant(u32),
    Live(Entry<K, S>),
}

/// Numbered entries.
#[derive(Debug)]
pub(super) struct Slab<K, S> {
    pages: Vec<Vec<Slot<K, S>>>,
    vacant: u32,
    num_slots: u32,
}

impl<K, S> Slab<K, S> {
    pub(super) fn new() -> Self {
        Self {
            pages: Vec::new(),
            vacant: NONE,
            num_slots: 0,
        }
    }

    /// Slots there are, live or vacant.
    pub(super) fn num_slots(&self) -> u32 {
        self.num_slots
    }

    fn slot(&self, at: u32) -> Option<&Slot<K, S>> {
        let at = at as usize;
        self.pages.get(at >> PAGE_BITS)?.get(at & (PAGE - 1))
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot<K, S>> {
        let at = at as usize;
        self.pages
            .get_mut(at >> PAGE_BITS)?
            .get_mut(at & (PAGE - 1))
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> Option<&Entry<K, S>> {
        match self.slot(at)? {
            Slot::Live(entry) => Some(entry),
            Slot::Vacant(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Entry<K, S>> {
        match self.slot_mut(at)? {
            Slot::Live(entry) => Some(entry),
            Slot::Vacant(_) => None,
        }
    }

    /// Puts an entry into a vacant slot, or a new one.
    pub(super) fn insert(&mut self, entry: Entry<K, S>) -> u32 {
        let at = self.vacant;
        if let Some(slot) = self.slot_mut(at) {
            if let Slot::Vacant(next) = std::mem::replace(slot, Slot::Live(entry)) {
                self.vacant = next;
            }
            return at;
        }
        match self.pages.last_mut() {
            Some(page) if page.len() < PAGE => page.push(Slot::Live(entry)),
            // The first page grows with what is in it: most states of a test, and many of a
            // program, are small.
            last => {
                let capacity = if last.is_some() { PAGE } else { 0 };
                let mut page = Vec::with_capacity(capacity);
                page.push(Slot::Live(entry));
                self.pages.push(page);
            }
        }
        self.num_slots += 1;
        self.num_slots - 1
    }

    /// Takes the entry of a slot out.
    pub(super) fn remove(&mut self, at: u32) -> Option<Entry<K, S>> {
        let vacant = self.vacant;
        let slot = self.slot_mut(at)?;
        if matches!(slot, Slot::Vacant(_)) {
            return None;
        }
        let taken = std::mem::replace(slot, Slot::Vacant(vacant));
        self.vacant = at;
        match taken {
            Slot::Live(entry) => Some(entry),
            Slot::Vacant(_) => None,
        }
    }

    /// Memory of the pages.
    pub(super) fn size_bytes(&self) -> usize {
        let slots: usize = self.pages.iter().map(Vec::capacity).sum();
        slots * size_of::<Slot<K, S>>() + self.pages.capacity() * size_of::<Vec<Slot<K, S>>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u32) -> Entry<u32, ()> {
        Entry {
            key,
            state: (),
            touched_ms: 0,
            older: Link::to(NONE),
            newer: Link::to(NONE),
        }
    }

    #[test]
    fn a_slot_is_no_larger_than_what_is_in_it() {
        assert_eq!(size_of::<Slot<u64, u64>>(), 32);
        assert_eq!(Link::to(7).at(), 7);
        assert!(Slab::<u64, u64>::new().get(Link::to(NONE).at()).is_none());
    }

    #[test]
    fn vacant_slots_are_used_again_and_entries_never_move() {
        let mut slab = Slab::new();
        let num = 3 * PAGE as u32;
        for key in 0..num {
            assert_eq!(slab.insert(entry(key)), key);
        }
        for at in (0..num).step_by(3) {
            assert_eq!(slab.remove(at).map(|entry| entry.key), Some(at));
            assert!(slab.remove(at).is_none());
        }
        assert_eq!(slab.get(1).map(|entry| entry.key), Some(1));
        let again: Vec<u32> = (0..num / 3).map(|key| slab.insert(entry(key))).collect();
        assert!(again.iter().all(|at| at % 3 == 0));
        assert_eq!(slab.num_slots(), num);
        assert_eq!(slab.insert(entry(7)), num);
    }
}
