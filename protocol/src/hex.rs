//! Bytes as hexadecimal digits, two for each.

use std::fmt;

/// Bytes as they are shown: in lower case, without a prefix.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads exactly so many bytes, in either case.
pub(crate) fn parse<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_their_digits() {
        let bytes = [0x00, 0x7f, 0xab, 0xff];
        assert_eq!(Hex(&bytes).to_string(), "007fabff");
        assert_eq!(parse("007fABff"), Some(bytes));
        for text in ["", "007fabf", "007fabf+", "007fabff00", "ü07fabf", "0x7fabff"] {
            assert_eq!(parse::<4>(text), None, "{text}");
        }
    }
}
