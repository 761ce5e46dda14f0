//! What was probably meant by a key that is unknown.

use crate::cron::nearest;

/// What the parser says of a word that it does not know, with the word that may have been meant.
///
/// ``unknown field `max_job`, expected one of `mode`, `max_jobs` `` is the form in which serde words it.
pub(super) fn with_suggestion(message: &str) -> String {
    let Some((head, expected)) = message.split_once(", expected ") else { return message.to_owned() };
    let Some(word) = head.strip_prefix("unknown field `").and_then(|rest| rest.strip_suffix('`')) else {
        return message.to_owned();
    };
    // Every second part stands between two marks.
    let known = expected.split('`').skip(1).step_by(2);
    match nearest(word, known) {
        Some(meant) => format!("{head}; did you mean `{meant}`? Expected {expected}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unknown_keys_get_a_suggestion() {
        let message = "unknown field `lisen`, expected one of `id`, `listen`, `data_dir`";
        let told = with_suggestion(message);
        assert_eq!(told, "unknown field `lisen`; did you mean `listen`? Expected one of `id`, `listen`, `data_dir`");
        let two = "unknown field `ages`, expected `age` or `count`";
        assert!(with_suggestion(two).contains("did you mean `age`?"));
        for other in [
            "missing field `id`",
            "unknown field `colour`, expected `id`",
            "invalid type: integer `5`, expected a string",
        ] {
            assert_eq!(with_suggestion(other), other);
        }
    }
}
