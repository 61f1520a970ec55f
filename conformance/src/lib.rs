//! The heavy oracles of the Hanzo SDK live in `tests/`: one file a crate, each beside an independent implementation.
//! The binary `gate` holds the checks of `.ci/run` that read the workspace's own metadata.
