//! Small libraries and their lessons, for the tests of Training-Free GRPO.

#![allow(dead_code, reason = "each test file needs some of them")]

use hanzo_experience::grpo::{Author, RoundConfig};
use hanzo_experience::{Draft, Library, LibraryConfig, Mode, Operation, Stamp, Text};

pub(crate) fn library(capacity: usize) -> Library {
    Library::new(LibraryConfig::new("example.com/learning".parse().unwrap()).capacity(capacity)).unwrap()
}

pub(crate) fn draft(lesson: &str) -> Draft {
    Draft::new(Text::new(lesson).unwrap(), "math".parse().unwrap(), "alice", 1)
}

pub(crate) fn with(lessons: &[&str]) -> Library {
    let mut library = library(100);
    let operations: Vec<Operation> = lessons.iter().map(|lesson| Operation::Add(draft(lesson))).collect();
    library.apply(&Stamp::new(1, "alice"), Mode::Atomic, &operations).unwrap();
    library
}

pub(crate) fn config() -> RoundConfig {
    RoundConfig::new(Author::new("math".parse().unwrap(), "trainer", 5).model("toy-1"))
}

pub(crate) fn texts(library: &Library) -> Vec<&str> {
    library.iter().map(|(_, content)| content.text().as_str()).collect()
}
