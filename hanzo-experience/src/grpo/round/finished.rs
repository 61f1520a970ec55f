use super::super::Report;
use crate::merkle::StateRoot;
use crate::{Applied, EmbedError, Embedder, Error, Library, Merger, Mode, Operation, Result, Stamp};

/// What a round came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The state of the library that the operations are meant for.
    pub base: StateRoot,
    /// What to do to it.
    pub operations: Vec<Operation>,
    /// How it came about.
    pub report: Report,
}

impl Finished {
    /// Gives each draft the vector of its text, so that near copies can be told by meaning too.
    ///
    /// # Errors
    /// The embedder's error; nothing is changed then.
    pub fn embed<E: Embedder>(&mut self, embedder: &E) -> Result<(), EmbedError<E::Error>> {
        let vector = |operation: &Operation| {
            let text = operation.draft().map(|draft| draft.text.as_str());
            text.map(|text| embedder.embed(text).map_err(EmbedError::Embedder)).transpose()
        };
        let vectors: Vec<Option<Vec<f32>>> = self.operations.iter().map(vector).collect::<Result<_, _>>()?;
        for (operation, vector) in self.operations.iter_mut().zip(vectors) {
            match operation {
                Operation::Add(draft) | Operation::Modify { draft, .. } => draft.vector = vector,
                Operation::Merge { draft: Some(draft), .. } => draft.vector = vector,
                Operation::Merge { draft: None, .. } | Operation::Delete { .. } | Operation::Keep => {}
            }
        }
        Ok(())
    }

    /// Applies the operations, leniently: what the library refuses is in the outcomes.
    ///
    /// # Errors
    /// [`Error::StaleBase`] if the library is in another state by now; those of the stamp, as for
    /// [`Library::apply`].
    pub fn apply(&self, library: &mut Library, stamp: &Stamp) -> Result<Applied> {
        self.check(library)?;
        library.apply(stamp, Mode::Lenient, &self.operations)
    }

    /// As [`apply`](Self::apply), where a merger may find copies that token sets do not show.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn apply_with<M: Merger>(&self, library: &mut Library, stamp: &Stamp, merger: &M) -> Result<Applied> {
        self.check(library)?;
        library.apply_with(stamp, Mode::Lenient, &self.operations, merger)
    }

    fn check(&self, library: &Library) -> Result<()> {
        if library.state_root() == self.base { Ok(()) } else { Err(Error::StaleBase) }
    }
}
