//! What the network learned: short lessons in a verifiable library, found again by their text.

use std::collections::BTreeMap;

use hanzo::experience::merkle::Checkpoint;
use hanzo::experience::{Draft, ExperienceId, Library, LibraryConfig, Mode, Operation, Outcome, Search, Stamp, Text};

use crate::Result;
use crate::market::{EMBEDDING, embed};
use crate::network::LEVELS;

/// The library and the reader's last checkpoint of it.
#[derive(Debug)]
pub(crate) struct Memory {
    library: Library,
    /// Lessons by tenant: the experience and the level it recommends.
    lessons: BTreeMap<usize, (ExperienceId, usize)>,
    /// What an outside reader has verified so far.
    verified: Checkpoint,
    /// Proofs that were verified.
    pub(crate) proofs: u64,
}

/// What the run has shown about a tenant so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// The tenant's name.
    pub(crate) name: String,
    /// What its requests say.
    pub(crate) about: String,
    /// Jobs at each level.
    pub(crate) jobs: [u64; LEVELS.len()],
    /// Value of them: score less what the dollars were worth.
    pub(crate) value: [f64; LEVELS.len()],
}

impl Seen {
    /// Nothing yet.
    pub(crate) fn new(name: &str, about: &str) -> Self {
        Self { name: name.to_owned(), about: about.to_owned(), jobs: Default::default(), value: Default::default() }
    }

    /// The level of the highest mean value, among those with jobs.
    pub(crate) fn best(&self) -> Option<(usize, f64)> {
        let means = (0..LEVELS.len()).filter(|&l| self.jobs[l] > 0).map(|l| (l, self.value[l] / self.jobs[l] as f64));
        means.max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// A lesson that fits a request.
#[derive(Debug, Clone)]
pub(crate) struct Lesson {
    /// Its text.
    pub(crate) text: String,
    /// The level it names.
    pub(crate) level: Option<usize>,
}

impl Memory {
    /// An empty library.
    pub(crate) fn new() -> Result<Self> {
        let origin = "hanzo.example/job-lifecycle".parse()?;
        // Lessons of different tenants are alike on purpose, so near copies are kept.
        let config = LibraryConfig::new(origin).encoder("hashed-text-64", EMBEDDING).dedup(None);
        let library = Library::new(config)?;
        let verified = library.checkpoint();
        Ok(Self { library, lessons: BTreeMap::new(), verified, proofs: 0 })
    }

    /// The lesson nearest to a request's text, and counts its use.
    pub(crate) fn recall(&mut self, text: &str) -> Result<Option<Lesson>> {
        let Some(hit) = self.library.retrieve(&embed(text)?, &Search::new(1))?.into_iter().next() else {
            return Ok(None);
        };
        self.library.record_use(&hit.id, 1)?;
        let found = self.library.get(&hit.id).ok_or("the library found what it does not hold")?;
        let text = found.text().as_str().to_owned();
        let level = LEVELS.iter().position(|level| text.split(' ').any(|word| word == level.name));
        Ok(Some(Lesson { text, level }))
    }

    /// The state of the library: what a job's context commits to.
    pub(crate) fn root(&self) -> [u8; 32] {
        (*self.library.checkpoint().root()).into()
    }

    /// Experiences that are active, and entries of the log.
    pub(crate) fn size(&self) -> (usize, u64) {
        (self.lessons.len(), self.library.checkpoint().size())
    }

    /// Writes down the best level of each tenant where it is new or has changed, and verifies as an outside reader that the log only
    /// grew and holds the new entries.
    pub(crate) fn record(&mut self, at_s: u64, by: &str, epoch: u64, seen: &BTreeMap<usize, Seen>) -> Result<()> {
        let mut operations = Vec::new();
        let mut about = Vec::new();
        for (&tenant, seen) in seen {
            let Some((level, value)) = seen.best() else { continue };
            let known = self.lessons.get(&tenant);
            if known.is_some_and(|(_, known)| *known == level) {
                continue;
            }
            let text = Text::normalize(&format!(
                "{}: {} served best, value {value:.2} a job over {} jobs until epoch {epoch}",
                seen.name, LEVELS[level].name, seen.jobs[level],
            ))?;
            let draft = Draft::new(text, "market.routing".parse()?, by, at_s).vector(embed(&seen.about)?);
            operations.push(match known {
                Some((id, _)) => Operation::Modify { id: *id, draft },
                None => Operation::Add(draft),
            });
            about.push((tenant, level));
        }
        if operations.is_empty() {
            return Ok(());
        }
        let stamp = Stamp::new(at_s, by).reference(format!("epoch/{epoch}"));
        let applied = self.library.apply(&stamp, Mode::Atomic, &operations)?;
        for ((tenant, level), outcome) in about.into_iter().zip(&applied.outcomes) {
            let (Outcome::Added { id } | Outcome::Modified { into: id, .. } | Outcome::Unchanged { id }) = outcome
            else {
                return Err(format!("a lesson was not recorded: {outcome:?}").into());
            };
            self.lessons.insert(tenant, (*id, level));
        }
        let new = applied.checkpoint;
        if self.verified.size() > 0 {
            new.verify_extends(
                &self.verified,
                &self.library.log().prove_consistency(self.verified.size(), new.size())?,
            )?;
            self.proofs += 1;
        }
        for &index in &applied.entries {
            let entry = self.library.entries().get(index as usize).ok_or("the log misses an entry")?;
            new.verify_inclusion(index, &entry.leaf(), &self.library.log().prove_inclusion(index, new.size())?)?;
            self.proofs += 1;
        }
        self.verified = new;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesson_is_recorded_proved_found_and_revised() {
        let mut memory = Memory::new().unwrap();
        assert!(memory.recall("tenant-00 asks").unwrap().is_none());
        let mut seen = BTreeMap::new();
        for tenant in 0..3 {
            let about = format!("tenant-{tenant:02} asks");
            let mut shown = Seen::new("somebody", &about);
            shown.jobs[tenant] = 4;
            shown.value[tenant] = 3.0;
            seen.insert(tenant, shown);
        }
        memory.record(10, "auditor", 0, &seen).unwrap();
        assert_eq!(memory.size(), (3, 1));
        for tenant in 0..3 {
            let lesson = memory.recall(&format!("tenant-{tenant:02} asks")).unwrap().unwrap();
            assert_eq!(lesson.level, Some(tenant), "{lesson:?}");
        }
        let root = memory.root();
        memory.record(11, "auditor", 1, &seen).unwrap();
        assert_eq!(memory.root(), root, "nothing new, nothing written");
        seen.get_mut(&0).unwrap().jobs[3] = 2;
        seen.get_mut(&0).unwrap().value[3] = 1.8;
        memory.record(12, "auditor", 2, &seen).unwrap();
        assert_eq!(memory.recall("tenant-00 asks").unwrap().unwrap().level, Some(3));
        assert_eq!((memory.size(), memory.proofs), ((3, 2), 3));
    }
}
