//! What was probably meant.

/// Of `choices`, the one that is spelled most like `word`, whatever the case: `MOM` is near to `MON`. None if none of
/// them is alike: at most one letter in three differs, or one continues the other.
pub fn nearest<'a>(word: &str, choices: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let alike = choices.filter_map(|choice| {
        let lower = choice.to_lowercase();
        let distance = strsim::osa_distance(&word, &lower);
        let continues = length >= 3 && lower.len() >= 3 && (word.starts_with(&lower) || lower.starts_with(&word));
        (continues || distance <= (length / 3).max(1)).then_some((distance, choice))
    });
    alike.min_by_key(|(distance, _)| *distance).map(|(_, choice)| choice)
}
