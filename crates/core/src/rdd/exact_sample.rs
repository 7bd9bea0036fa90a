//! Samples of an exact size: how many records each partition gives, and which.
//!
//! The driver knows how many records each partition has and deals out the draws; a partition
//! then draws exactly so many of exactly so many. Nothing is estimated, nothing tried again.

use crate::random::Random;

/// How many of `draws` draws fall on each part, when each record of all parts is as likely as any
/// other. Without replacement at most as many as there are records.
pub(crate) fn deal(counts: &[u64], draws: u64, replacement: bool, random: &mut Random) -> Vec<u64> {
    let ends: Vec<u64> = counts
        .iter()
        .scan(0_u64, |end, count| {
            *end += count;
            Some(*end)
        })
        .collect();
    let total = ends.last().copied().unwrap_or(0);
    if total == 0 {
        return vec![0; counts.len()];
    }
    let mut part_of_any = || {
        let at = random.below(total);
        (ends.partition_point(|end| *end <= at), at)
    };
    if replacement {
        let mut dealt = vec![0; counts.len()];
        for _ in 0..draws {
            if let Some(dealt) = dealt.get_mut(part_of_any().0) {
                *dealt += 1;
            }
        }
        return dealt;
    }
    // The smaller of the records that are drawn and those that are not: a draw that hits a record
    // a second time is made again, which then happens every other time at the worst.
    let draws = draws.min(total);
    let chosen = draws.min(total - draws);
    let mut hit = vec![0; counts.len()];
    let mut seen = std::collections::HashSet::new();
    while (seen.len() as u64) < chosen {
        let (part, at) = part_of_any();
        if seen.insert(at)
            && let Some(hit) = hit.get_mut(part)
        {
            *hit += 1;
        }
    }
    if chosen == draws {
        return hit;
    }
    counts.iter().zip(hit).map(|(all, out)| all - out).collect()
}

/// Draws an exact number of a known number of records that come one after the other.
#[derive(Debug)]
pub(crate) enum Picker {
    /// Each at most once: the next is taken with the chance that it needs. Knuth's algorithm S.
    Once {
        /// Records to come.
        left: u64,
        /// Draws to come.
        draws: u64,
    },
    /// Drawn beforehand: the positions, largest first, and the position of the next record.
    Again {
        /// The positions.
        drawn: Vec<u64>,
        /// The next record's.
        next: u64,
    },
}

impl Picker {
    pub(crate) fn new(count: u64, draws: u64, replacement: bool, random: &mut Random) -> Self {
        if !replacement {
            return Self::Once { left: count, draws };
        }
        let mut drawn: Vec<u64> = (0..draws).map(|_| random.below(count)).collect();
        drawn.sort_unstable_by(|a, b| b.cmp(a));
        Self::Again { drawn, next: 0 }
    }

    /// How often the next record was drawn.
    pub(crate) fn pick(&mut self, random: &mut Random) -> u64 {
        match self {
            Self::Once { left, draws } => {
                let taken = u64::from(random.below(*left) < *draws);
                *left = left.saturating_sub(1);
                *draws -= taken;
                taken
            }
            Self::Again { drawn, next } => {
                let mut times = 0;
                while drawn.pop_if(|at| *at == *next).is_some() {
                    times += 1;
                }
                *next += 1;
                times
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_get_exactly_the_draws_and_none_more_than_it_has() {
        let mut random = Random::new(1, 0);
        let counts = [10, 0, 30, 60];
        for draws in [0, 1, 49, 50, 51, 99, 100, 1_000] {
            let dealt = deal(&counts, draws, false, &mut random);
            assert_eq!(dealt.iter().sum::<u64>(), draws.min(100));
            assert!(dealt.iter().zip(counts).all(|(dealt, has)| *dealt <= has));
            let dealt = deal(&counts, draws, true, &mut random);
            assert_eq!((dealt.iter().sum::<u64>(), dealt[1]), (draws, 0));
        }
        assert_eq!(deal(&[], 5, true, &mut random), Vec::<u64>::new());
        assert_eq!(deal(&[0, 0], 5, false, &mut random), [0, 0]);
    }

    #[test]
    fn draws_follow_the_sizes_of_the_parts() {
        let mut random = Random::new(2, 0);
        let mut sums = [0; 2];
        for _ in 0..200 {
            for (sum, dealt) in sums
                .iter_mut()
                .zip(deal(&[100, 300], 40, false, &mut random))
            {
                *sum += dealt;
            }
        }
        // 8,000 draws, a quarter of them: sigma is below 40.
        assert!((1_800..2_200).contains(&sums[0]), "{sums:?}");
    }

    #[test]
    fn a_picker_draws_exactly_and_every_record_alike() {
        let mut random = Random::new(3, 0);
        for replacement in [false, true] {
            let mut hits = [0; 10];
            for _ in 0..2_000 {
                let mut picker = Picker::new(10, 4, replacement, &mut random);
                let picked: Vec<u64> = (0..10).map(|_| picker.pick(&mut random)).collect();
                assert_eq!(picked.iter().sum::<u64>(), 4);
                assert!(replacement || picked.iter().all(|times| *times <= 1));
                for (hits, times) in hits.iter_mut().zip(picked) {
                    *hits += times;
                }
            }
            assert!(hits.iter().all(|n| (640..960).contains(n)), "{hits:?}");
        }
    }
}
