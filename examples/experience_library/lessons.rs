//! Where the lessons come from, and how their words become vectors.

use std::path::{Path, PathBuf};

use hanzo::experience::{Domain, Draft, FnEmbedder, Text, TokenSet};
use sha2::{Digest, Sha256};

use crate::Result;

/// Lessons of the library that is built in, each with its domain.
const BUILT_IN: [(&str, &str); 12] = [
    ("math.algebra", "When solving a quadratic, check the discriminant first; if it is negative, say so and stop."),
    ("math.algebra", "When an equation has a root outside its domain, discard it before you report the solutions."),
    ("math.algebra", "When a polynomial identity must hold for all x, compare coefficients instead of trying values."),
    ("math.counting", "When counting arrangements, enumerate small cases by program before you trust a formula."),
    ("math.counting", "When counting small arrangements, enumerate cases by program before you trust any formula."),
    ("math.geometry", "When a figure has symmetry, place the origin at its centre before choosing coordinates."),
    ("web.search", "When an official page exists, read it before any secondary source, and quote its wording."),
    ("web.search", "When two sources disagree, look for the date of each and prefer the later official one."),
    ("web.search", "When a page is long, search inside it for the section you need instead of reading it whole."),
    ("code.review", "When a test fails only sometimes, look for shared state, time and order before changing code."),
    ("code.review", "When an input comes from outside, check its length before you allocate for it."),
    ("code.review", "When a number is money, keep it an integer and say in the name which unit it counts."),
];

/// A lesson not yet checked.
#[derive(Debug)]
pub(crate) struct Lesson {
    pub(crate) domain: Domain,
    pub(crate) text: String,
}

/// The lessons of these files, or those built in.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Lesson>> {
    if files.is_empty() {
        let lesson = |(domain, text): &(&str, &str)| Ok(Lesson { domain: domain.parse()?, text: (*text).to_owned() });
        return BUILT_IN.iter().map(lesson).collect();
    }
    let mut lessons = Vec::new();
    for file in files {
        let shown = file.display();
        let bytes = std::fs::read(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let texts: Vec<String> =
            serde_json::from_slice(&bytes).map_err(|error| format!("{shown} is not a JSON list of texts: {error}"))?;
        let domain = domain_of(file)?;
        lessons.extend(texts.into_iter().map(|text| Lesson { domain: domain.clone(), text }));
    }
    Ok(lessons)
}

/// `math_experiences.json` is `math_experiences`.
fn domain_of(file: &Path) -> Result<Domain> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_ascii_lowercase();
    stem.parse().map_err(|error| format!("{} does not name a domain: {error}", file.display()).into())
}

/// A draft with its vector, or why the lesson is refused.
pub(crate) fn draft(lesson: &Lesson, at: u64) -> hanzo::experience::Result<Draft> {
    let text = Text::normalize(&lesson.text)?;
    let vector = vector(text.as_str());
    Ok(Draft::new(text, lesson.domain.clone(), "author", at).vector(vector))
}

/// Name of the encoder: vectors of another are never compared with these.
pub(crate) const ENCODER: &str = "hashed-words-256";
/// Its dimension.
pub(crate) const DIMENSION: usize = 256;

/// The encoder: it stands for a sentence encoder, which would be a model of its own.
pub(crate) fn encoder() -> FnEmbedder<impl Fn(&str) -> Result<Vec<f32>, std::convert::Infallible>> {
    FnEmbedder::new(ENCODER, |text: &str| Ok(vector(text)))
}

/// Each word adds one, with a sign, to a component; both come from its hash (Weinberger et al. 2009).
fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSION];
    for word in text.split(|ch: char| !ch.is_alphanumeric()).filter(|word| word.chars().count() > 2) {
        // Case as for copies.
        let hash = Sha256::digest(word.to_lowercase());
        vector[usize::from(hash[0])] += if hash[1] & 1 == 0 { 1.0 } else { -1.0 };
    }
    if vector.iter().all(|x| *x == 0.0) {
        vector[0] = 1.0;
    }
    vector
}

/// How alike two texts are by their words, in percent.
pub(crate) fn overlap(a: &str, b: &str) -> usize {
    let (both, either) = TokenSet::new(a).overlap(&TokenSet::new(b));
    100 * both / either.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_lessons_are_valid() {
        let lessons = read(&[]).unwrap();
        assert!(lessons.iter().all(|lesson| draft(lesson, 0).is_ok()));
        assert!(overlap(&lessons[3].text, &lessons[4].text) >= 85);
        assert_eq!(vector("a").iter().sum::<f32>(), 1.0);
    }
}
