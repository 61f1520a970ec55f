//! `corpus DIR`: writes a first corpus for the fuzzers, `DIR/CRATE/PARSER-N`, from the samples of every reader.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: corpus DIR");
        return ExitCode::from(2);
    };
    match write(&PathBuf::from(folder)) {
        Ok(files) => {
            println!("{files} files");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("corpus: {error}");
            ExitCode::from(2)
        }
    }
}

fn write(folder: &Path) -> io::Result<usize> {
    let mut files = 0;
    for name in hanzo_parsers::CRATES {
        std::fs::create_dir_all(folder.join(name))?;
        for (which, parser) in hanzo_parsers::of(name).enumerate() {
            for (n, sample) in (parser.samples)().into_iter().enumerate() {
                let bytes = [&[u8::try_from(which).map_err(io::Error::other)?][..], &sample].concat();
                std::fs::write(folder.join(format!("{}-{n}", parser.name)), bytes)?;
                files += 1;
            }
        }
    }
    Ok(files)
}
