//! Hides a job's secrets in what people get to read of it: its log, and why it failed.
//!
//! # What must hold
//! - No occurrence of a value is left, whatever others it overlaps: `***` stands for each stretch that values cover. A line
//!   of a value of several is hidden by itself too, and so are the end of a value whose beginning was cut off with the
//!   beginning of the log, and a value as programs print it between quotes, with `\n` and `\"`.
//! - Nothing gets longer by it, so that what was within its limit still is.
//! - For a job without secrets it does nothing: it copies nothing, and looks at nothing.
//!
//! It is there for accidents. What a guest disguises is not found: encoded, turned round, or written in pieces. What is short
//! is not hidden: a value of less than [`VALUE_BYTES_MIN`] bytes, a line of less than [`LINE_BYTES_MIN`], or so little that is
//! left of one that was cut. A job's result is its own, and none of this module's business.

use bytes::Bytes;
use jobraft_protocol::{Completion, Failure, SecretName, SecretValue};
use std::borrow::Cow;
use std::ops::Range;

/// What stands in the place of a value. Shorter than all that is hidden.
const MASK: &[u8] = b"***";
/// The shortest value that is hidden, and the shortest end of one: `no` and `443` are in every log, and to hide them would
/// shred it.
const VALUE_BYTES_MIN: usize = 4;
/// The shortest line that is hidden by itself: a file of settings has many like `},` and `[main]`.
const LINE_BYTES_MIN: usize = 8;

/// What is to be hidden, in order. Made when it is needed, from values that stay where they are, most of them.
pub(super) struct Masking<'a>(Vec<Cow<'a, [u8]>>);

impl<'a> Masking<'a> {
    /// Hides these.
    pub(super) fn of(secrets: &'a [(SecretName, SecretValue)]) -> Self {
        let mut hidden = Vec::new();
        for (_, value) in secrets {
            let value = value.reveal();
            // A value that was read from a file ends with a newline, and whoever uses it drops that.
            let trimmed = value.trim();
            let whole = if trimmed.len() < VALUE_BYTES_MIN { value } else { trimmed };
            let whole = Some(whole).filter(|whole| whole.len() >= VALUE_BYTES_MIN);
            let lines = trimmed.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN);
            for text in whole.into_iter().chain(lines) {
                let quoted = format!("{text:?}");
                let quoted = &quoted[1..quoted.len() - 1];
                if quoted != text {
                    hidden.push(Cow::Owned(quoted.as_bytes().to_owned()));
                }
                hidden.push(Cow::Borrowed(text.as_bytes()));
            }
        }
        hidden.sort_unstable();
        hidden.dedup();
        Self(hidden)
    }

    /// A log without them; `is_cut` says whether it may lack its beginning.
    pub(super) fn log(&self, log: Bytes, is_cut: bool) -> Bytes {
        self.hide(&log, is_cut).map_or(log, Bytes::from)
    }

    /// A message without them.
    fn message(&self, message: String) -> String {
        match self.hide(message.as_bytes(), false) {
            Some(masked) => String::from_utf8(masked).expect("characters were taken out whole"),
            None => message,
        }
    }

    /// How an attempt ended, without them in its log, which has `log_bytes_max` bytes if it was cut, and its message.
    pub(super) fn outcome(
        &self,
        outcome: Result<Completion, Failure>,
        log_bytes_max: usize,
    ) -> Result<Completion, Failure> {
        let mask = |log: Bytes| {
            let is_cut = log.len() >= log_bytes_max;
            self.log(log, is_cut)
        };
        match outcome {
            Ok(completion) => {
                let log = mask(completion.log);
                Ok(Completion { log, ..completion })
            }
            Err(failure) => {
                let (log, message) = (mask(failure.log), self.message(failure.message));
                Err(Failure { log, message, ..failure })
            }
        }
    }

    /// None if there is nothing to hide.
    fn hide(&self, text: &[u8], is_cut: bool) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let covered = self.covered(text, is_cut);
        if covered.is_empty() {
            return None;
        }
        let (mut masked, mut shown_from) = (Vec::with_capacity(text.len()), 0);
        for Range { start, end } in covered {
            masked.extend_from_slice(&text[shown_from..start]);
            masked.extend_from_slice(MASK);
            shown_from = end;
        }
        masked.extend_from_slice(&text[shown_from..]);
        Some(masked)
    }

    /// Where there is something to hide: in order, and apart.
    fn covered(&self, text: &[u8], is_cut: bool) -> Vec<Range<usize>> {
        let mut covered: Vec<Range<usize>> = Vec::new();
        let rest = if is_cut { self.rest_of_a_value(text) } else { 0 };
        if rest > 0 {
            covered.push(0..rest);
        }
        for start in 0..text.len() {
            let Some(bytes) = self.longest_value(&text[start..]) else { continue };
            match covered.last_mut() {
                Some(last) if start < last.end => last.end = last.end.max(start + bytes),
                _ => covered.push(start..start + bytes),
            }
        }
        covered
    }

    /// How many bytes of `text` are the longest value that it begins with. Takes a look or two even at tens of thousands of
    /// lines.
    fn longest_value(&self, mut text: &[u8]) -> Option<usize> {
        loop {
            let before = self.0.partition_point(|value| **value <= *text);
            let last: &[u8] = self.0[..before].last()?;
            if text.starts_with(last) {
                return Some(last.len());
            }
            // A value that `text` begins with stands before this one, or is this one; and all between it and `text` begin
            // with it. So it is within what the two have in common, which is less than `text`.
            let common = last.iter().zip(text).take_while(|(a, b)| a == b).count();
            text = &text[..common];
        }
    }

    /// How many bytes of `text` are the end of a value, of which the beginning was cut off.
    fn rest_of_a_value(&self, text: &[u8]) -> usize {
        let longest = |value: &Cow<'_, [u8]>| {
            (VALUE_BYTES_MIN..value.len()).rev().find(|&bytes| text.starts_with(&value[value.len() - bytes..]))
        };
        self.0.iter().filter_map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn secrets(values: &[&str]) -> Vec<(SecretName, SecretValue)> {
        values.iter().map(|value| (SecretName::new("ANY").unwrap(), value.parse().unwrap())).collect()
    }

    /// A log, of which the beginning was cut off or not, without the values.
    fn masked(values: &[&str], log: &str, is_cut: bool) -> String {
        let log = Masking::of(&secrets(values)).log(Bytes::copy_from_slice(log.as_bytes()), is_cut);
        String::from_utf8(log.to_vec()).unwrap()
    }

    #[test]
    fn each_occurrence_is_hidden_and_the_rest_is_not() {
        assert_eq!(masked(&["hunter2"], "a hunter2, hunter2hunter2 and hunter\n", false), "a ***, ****** and hunter\n");
        assert_eq!(masked(&["hunter2", "s3cr3t!"], "s3cr3t!/hunter2", false), "***/***");
        assert_eq!(masked(&["grün"], "das grüne und das grüe", false), "das ***e und das grüe");
        assert_eq!(masked(&["hunter2"], "", true), "");
    }

    #[test]
    fn what_overlaps_is_hidden_whole() {
        // One in another, whatever their order; one that begins in another; one that goes on in itself.
        for values in [["pass", "password", "xpassw"], ["password", "xpassw", "pass"]] {
            assert_eq!(masked(&values, "password pass xpassword", false), "*** *** ***");
        }
        assert_eq!(masked(&["abcdef", "cdefgh", "efgh!!"], "-abcdefgh!!-", false), "-***-");
        assert_eq!(masked(&["aaaa"], "aaa aaaaaaaaa", false), "aaa ***");
    }

    #[test]
    fn value_is_found_among_those_that_begin_like_it() {
        let values = ["abcd", "abcdef", "abcdefgh", "abcdez", "abce", "abd"];
        for (text, shown) in [
            ("abcdefgz", "***gz"),
            ("abcdefgh", "***"),
            ("abcdey", "***ey"),
            ("abcdez", "***"),
            ("abcf", "abcf"),
            ("abd", "abd"),
            ("abc", "abc"),
        ] {
            assert_eq!(masked(&values, text, false), shown, "{text}");
        }
    }

    #[test]
    fn longest_value_is_what_a_look_at_each_finds() {
        let values = ["aaaa", "aaab", "aabab", "aababb", "aababbab", "abab", "babab", "bbba", "bbbabb", "bbbb"];
        let secrets = secrets(&values);
        let masking = Masking::of(&secrets);
        for bits in 0..1_u32 << 10 {
            let text: String = (0..10).map(|at| if bits >> at & 1 == 0 { 'a' } else { 'b' }).collect();
            let longest = values.iter().filter(|value| text.starts_with(*value)).map(|value| value.len()).max();
            assert_eq!(masking.longest_value(text.as_bytes()), longest, "{text}");
        }
    }

    #[test]
    fn short_values_are_left() {
        assert_eq!(masked(&["443", "no", "true"], "no, port 443: true", false), "no, port 443: ***");
    }

    #[test]
    fn newline_at_its_end_is_not_what_makes_a_value() {
        assert_eq!(masked(&["hunter2\n"], "hunter2 or hunter2\n", false), "*** or ***\n");
        // What would be too little without its spaces is hidden with them.
        assert_eq!(masked(&[" ab "], "ab  ab  ab", false), "ab *** ab");
    }

    #[test]
    fn of_several_lines_each_is_hidden_too() {
        let key = "-----BEGIN KEY-----\r\n  MIIEvQIBADAN\r\nseven__\r\n12345678\r\n-----END KEY-----\n";
        assert_eq!(masked(&[key], &format!("key: {key}."), false), "key: ***\n.");
        let lines = "> MIIEvQIBADAN\n> seven__\n> 12345678\n> 1234567\n";
        assert_eq!(masked(&[key], lines, false), "> ***\n> seven__\n> ***\n> 1234567\n");
    }

    #[test]
    fn value_is_hidden_as_it_is_quoted() {
        let value = "a \"b\"\\c\nsecond line\n";
        let printed = format!("{:?}", [("KEY", value)]);
        assert_eq!(masked(&[value], &printed, false), r#"[("KEY", "***\n")]"#);
        assert_eq!(masked(&[value], value, false), "***\n");
    }

    #[test]
    fn end_of_a_value_is_hidden_where_the_log_was_cut() {
        assert_eq!(masked(&["correct-horse"], "ct-horse, said the horse", true), "***, said the horse");
        assert_eq!(masked(&["correct-horse"], "orse", true), "***");
        assert_eq!(masked(&["correct-horse"], "rse", true), "rse");
        // Elsewhere, or if nothing was cut, it is a word like others.
        assert_eq!(masked(&["correct-horse"], " ct-horse", true), " ct-horse");
        assert_eq!(masked(&["correct-horse"], "ct-horse", false), "ct-horse");
        // The longest end of any, and what overlaps it.
        assert_eq!(masked(&["correct-horse", "a white horse", "horse-riding"], "white horse-riding", true), "***");
        assert_eq!(masked(&["correct-horse"], "correct-horse", true), "***");
        let key = "-----BEGIN KEY-----\nMIIEvQIBADAN\nMIIEvQ==";
        assert_eq!(masked(&[key], "QIBADAN\nMIIEvQ==\n", true), "***\n");
        assert_eq!(masked(&[key], "QIBADAN\n> MIIEvQ==\n", true), "***\n> ***\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_no_hindrance() {
        let secrets = secrets(&["hunter2", "grün"]);
        let log = Masking::of(&secrets).log(Bytes::from_static(b"\xbcn \xff\xfehunter2\xff"), true);
        assert_eq!(&log[..], b"\xbcn \xff\xfe***\xff");
    }

    #[test]
    fn outcome_is_hidden_but_for_its_result() {
        let (secrets, said) = (secrets(&["hunter2"]), Bytes::from_static(b"hunter2"));
        let done = Completion { result: said.clone(), log: said.clone(), ..Completion::default() };
        let done = Masking::of(&secrets).outcome(Ok(done), 100).unwrap();
        assert_eq!((&done.result[..], &done.log[..]), (&b"hunter2"[..], &b"***"[..]));
        let failed = Failure { log: said, ..Failure::final_error("no such user: hünter hunter2") };
        let failed = Masking::of(&secrets).outcome(Err(failed), 100).unwrap_err();
        assert_eq!((&failed.message[..], &failed.log[..]), ("no such user: hünter ***", &b"***"[..]));
        assert!(!failed.retryable);
        let log = |log_bytes_max| {
            let cut = Failure { log: Bytes::from_static(b"nter2"), ..Failure::retryable("") };
            Masking::of(&secrets).outcome(Err(cut), log_bytes_max).unwrap_err().log
        };
        assert_eq!((&log(5)[..], &log(6)[..]), (&b"***"[..], &b"nter2"[..]));
    }

    #[test]
    fn nothing_to_hide_copies_nothing() {
        let (none, some) = (secrets(&[]), secrets(&["hunter2"]));
        for secrets in [none, some] {
            let log = Bytes::from_static(b"all is well");
            assert_eq!(Masking::of(&secrets).log(log.clone(), true).as_ptr(), log.as_ptr());
        }
    }

    #[test]
    fn many_lines_are_no_hindrance() {
        // As many as fit in a job's secrets, and a log that has begun like them everywhere.
        let lines: Vec<String> = (0..1_600).map(|n| format!("aaaa{n:05}")).collect();
        let values: Vec<String> = (0..16).map(|n| lines.join("\n") + &format!("{n:05}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let secrets = secrets(&values);
        let log = Masking::of(&secrets).log(Bytes::from("a".repeat(16 * 1024)), true);
        assert_eq!(log.len(), 16 * 1024);
    }
}
