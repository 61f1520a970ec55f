//! What a validator and the trial say to each other, a line each, on standard input and output.

use std::str::FromStr;

/// What the trial tells a validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Where the validator at a position listens.
    Peer(usize, u16),
    /// A match to certify and settle.
    Match(u64),
    /// End.
    Stop,
}

/// A checkpoint that has settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettledNews {
    /// Epoch and sequence.
    pub(crate) place: (u64, u64),
    /// Its digest, which covers those before, in hexadecimal.
    pub(crate) digest: String,
    /// Its matches, in order.
    pub(crate) matches: Vec<u64>,
}

/// What a validator tells the trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// It listens.
    Port(u16),
    /// A match is certified: it will settle.
    Certified(u64),
    /// A match was refused, as too much waits.
    Refused(u64),
    /// A checkpoint has settled.
    Settled(SettledNews),
}

impl Order {
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Peer(position, port) => format!("peer {position} {port}\n"),
            Self::Match(number) => format!("match {number}\n"),
            Self::Stop => "stop\n".into(),
        }
    }
}

impl News {
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Port(port) => format!("port {port}\n"),
            Self::Certified(number) => format!("certified {number}\n"),
            Self::Refused(number) => format!("refused {number}\n"),
            Self::Settled(SettledNews { place: (epoch, sequence), digest, matches }) => {
                let matches: Vec<String> = matches.iter().map(u64::to_string).collect();
                format!("settled {epoch} {sequence} {digest} {}\n", matches.join(" "))
            }
        }
    }
}

fn words<T: FromStr>(line: &str, what: &str) -> Option<Vec<T>> {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    (first == what).then(|| rest.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok())?
}

impl FromStr for Order {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let bad = || format!("no order: {line:?}");
        if line == "stop" {
            return Ok(Self::Stop);
        }
        if let Some(numbers) = words::<u64>(line, "match") {
            return if let [number] = numbers[..] { Ok(Self::Match(number)) } else { Err(bad()) };
        }
        match words::<usize>(line, "peer").ok_or_else(bad)?[..] {
            [position, port] => Ok(Self::Peer(position, u16::try_from(port).map_err(|_| bad())?)),
            _ => Err(bad()),
        }
    }
}

impl FromStr for News {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let bad = || format!("no news: {line:?}");
        if let Some(rest) = line.strip_prefix("settled ") {
            let mut rest = rest.split_whitespace();
            let mut number = || rest.next().and_then(|word| word.parse().ok()).ok_or_else(bad);
            let place = (number()?, number()?);
            let digest = rest.next().filter(|digest| digest.len() == 64).ok_or_else(bad)?.to_owned();
            let matches = rest.map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
            return Ok(Self::Settled(SettledNews { place, digest, matches }));
        }
        for (what, make) in [("certified", Self::Certified as fn(u64) -> Self), ("refused", Self::Refused)] {
            if let Some([number]) = words(line, what).as_deref() {
                return Ok(make(*number));
            }
        }
        match words(line, "port").as_deref() {
            Some([port]) => Ok(Self::Port(*port)),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_was_meant_and_nothing_else() {
        for order in [Order::Peer(3, 40_000), Order::Match(u64::MAX), Order::Stop] {
            assert_eq!(order.line().trim_end().parse(), Ok(order));
        }
        let settled = |matches| News::Settled(SettledNews { place: (0, 7), digest: "ab".repeat(32), matches });
        for news in [News::Port(1), News::Certified(2), News::Refused(3), settled(vec![]), settled(vec![5, 4])] {
            assert_eq!(news.line().trim_end().parse(), Ok(news));
        }
        for bad in ["", "match", "match x", "match 1 2", "peer 1", "peer 1 70000", "stop now"] {
            assert!(bad.parse::<Order>().is_err(), "{bad}");
        }
        for bad in ["", "port", "port 70000", "certified", "settled 0 1", "settled 0 1 ab 3", "done"] {
            assert!(bad.parse::<News>().is_err(), "{bad}");
        }
    }
}
