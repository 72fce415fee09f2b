//! What a caller meets of a policy's rules, as bits: equal bits see equal lists.

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standing(Vec<u64>);

impl Standing {
    pub(super) fn of(verdicts: impl Iterator<Item = bool>) -> Self {
        let mut words = Vec::new();
        let mut word = 0u64;
        let mut count = 0usize;
        for verdict in verdicts {
            word |= u64::from(verdict) << (count % 64);
            count += 1;
            if count.is_multiple_of(64) {
                words.push(word);
                word = 0;
            }
        }
        words.push(word);
        Self(words)
    }

    pub(super) fn holds(&self, rule: usize) -> bool {
        self.0.get(rule / 64).is_some_and(|word| word >> (rule % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_kept_for_each_of_many_rules() {
        let standing = Standing::of((0..200).map(|n| n % 3 == 0));
        for n in 0..200 {
            assert_eq!(standing.holds(n), n % 3 == 0, "rule {n}");
        }
        assert!(!standing.holds(5000));
    }
}
