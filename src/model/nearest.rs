//! The word that somebody meant who wrote another.

/// The known word that was probably meant: a letter in three may be wrong, and capitals do not count.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let longest_way = (word.chars().count() + 1) / 3;
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(way, _)| *way <= longest_way)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_word() {
        let known = ["films", "wiki", "aria2.addUri", "aria2.addTorrent"];
        for (word, meant) in [
            ("flims", Some("films")),
            ("film", Some("films")),
            ("FILMS", Some("films")),
            ("wiki", Some("wiki")),
            ("aria2.addURIs", Some("aria2.addUri")),
            ("aria2.pause", None),
            ("tv", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
