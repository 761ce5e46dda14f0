//! A set of small numbers.

/// Numbers below 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(u64);

impl Set {
    /// The numbers from `first` to `last`, every `step`th of them.
    pub(super) fn range(first: u8, last: u8, step: u8) -> Self {
        (first..=last).step_by(usize::from(step)).map(Self::of).fold(Self::default(), Self::or)
    }

    /// One number.
    pub(super) const fn of(number: u8) -> Self {
        Self(1 << number)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn has(self, number: u8) -> bool {
        self.0 & Self::of(number).0 != 0
    }

    /// The least of those that are `number` or more, which is below 64.
    pub(super) fn at_or_after(self, number: u8) -> Option<u8> {
        let left = self.0 >> number;
        (left != 0).then(|| number + left.trailing_zeros() as u8)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |&number| self.has(number))
    }
}
