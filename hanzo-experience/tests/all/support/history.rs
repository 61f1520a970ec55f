//! A fixed history of a library, and a folder to keep it in.

use std::path::PathBuf;

use hanzo_experience::{Draft, Library, LibraryConfig, Mode, Operation, Stamp, Text, Vote};

pub(crate) fn config() -> LibraryConfig {
    LibraryConfig::new("example.com/stored".parse().unwrap()).capacity(6).dedup(None)
}

/// Step `n` of a fixed history, which adds, votes, deletes, prunes and restores.
pub(crate) fn step(library: &mut Library, n: u64) -> hanzo_experience::Result<()> {
    let stamp = Stamp::new(1_000 + n, "tester");
    let text = Text::new(&format!("lesson {n} \"quoted\" é")).unwrap();
    let draft = Draft::new(text, "math".parse().unwrap(), "alice", n).example(format!("line\n{n}\u{2028}"), "\t\\");
    let first = library.iter().next().map(|(id, _)| *id);
    library.apply(&stamp, Mode::Atomic, &[Operation::Add(draft)])?;
    let Some(id) = first.filter(|id| library.get(id).is_some()) else { return Ok(()) };
    library.record_vote(&id, &format!("voter-{}", n % 5), if n.is_multiple_of(3) { Vote::Down } else { Vote::Up })?;
    library.record_use(&id, n)?;
    library.set_label(&id, &format!("G{n}"))?;
    match n % 7 {
        3 => library.apply(&stamp, Mode::Atomic, &[Operation::Delete { id }]).map(|_| ()),
        5 => {
            let root = *library.entries()[library.entries().len() / 2].state();
            library.restore(&stamp, &root).map(|_| ())
        }
        _ => Ok(()),
    }
}

pub(crate) fn history(n: u64) -> Library {
    let mut library = Library::new(config()).unwrap();
    (0..n).for_each(|n| step(&mut library, n).unwrap());
    library
}

/// A folder of this test alone, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hanzo-experience-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
