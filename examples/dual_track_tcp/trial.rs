//! Begins the validators, gives them matches, kills one after the other, and compares what they say has settled.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::lines::{News, Order, SettledNews};
use crate::options::Options;

/// After which a match that has not settled is given to another validator as well; it settles once all the same.
const RETRY: Duration = Duration::from_secs(2);
/// How long the validators have to begin, and to settle what is left when the load ends.
const PATIENCE: Duration = Duration::from_secs(30);

type Place = (u64, u64);
type Log = BTreeMap<Place, SettledNews>;

/// A validator's process, and all it has ever said.
struct Member {
    process: Option<(Child, ChildStdin)>,
    port: Option<u16>,
    log: Log,
    /// What this process has said has settled.
    said: BTreeSet<Place>,
    /// When it was begun again, and what the others had settled then.
    behind: Option<(Instant, Place)>,
}

struct Match {
    given: Instant,
    tried: Instant,
    certified: Option<Instant>,
    settled: Option<Instant>,
}

/// A part of the trial in which the same validators are up.
struct Phase {
    name: String,
    begin: Instant,
    end: Instant,
}

struct Trial<'a> {
    options: &'a Options,
    dir: PathBuf,
    members: Vec<Member>,
    news: Receiver<(usize, Instant, News)>,
    tell: Sender<(usize, Instant, News)>,
    matches: Vec<Match>,
    again: u64,
    refused: u64,
    recovered: Vec<String>,
}

/// Processes end and files go with the trial, however it ends.
impl Drop for Trial<'_> {
    fn drop(&mut self) {
        for (child, _) in self.members.iter_mut().filter_map(|member| member.process.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.options.dir.is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// The whole trial; what is to be printed.
///
/// # Errors
///
/// [`Failure::Wrong`] for a validator that loses or contradicts anything, or does not get on; what the system refuses.
pub(crate) fn run(options: &Options) -> Result<String, Failure> {
    let temporary = || std::env::temp_dir().join(format!("dual_track_tcp-{}", std::process::id()));
    let (tell, news) = channel();
    let mut trial = Trial {
        options,
        dir: options.dir.clone().unwrap_or_else(temporary),
        members: Vec::new(),
        news,
        tell,
        matches: Vec::new(),
        again: 0,
        refused: 0,
        recovered: Vec::new(),
    };
    fs::create_dir_all(&trial.dir)?;
    let used = (0..options.nodes).any(|at| trial.dir.join(format!("validator-{at}.redb")).exists());
    if used {
        return Err(Failure::Usage(format!("{} holds files of a trial", trial.dir.display())));
    }
    for position in 0..options.nodes {
        let process = Some(trial.begin(position, false)?);
        let (port, log, said) = (None, Log::new(), BTreeSet::new());
        trial.members.push(Member { process, port, log, said, behind: None });
    }
    trial.wait("does not listen", |trial| trial.members.iter().map(|member| member.port.is_some()).collect())?;
    let phases = trial.load()?;
    let count = trial.matches.len();
    trial.wait("has not settled all", |trial| {
        let all = |log: &Log| log.values().map(|news| news.matches.len()).sum::<usize>() >= count;
        trial.members.iter().map(|member| all(&member.log)).collect()
    })?;
    trial.stop()?;
    let last = trial.compare()?;
    Ok(trial.table(&phases, &last))
}

impl Trial<'_> {
    fn begin(&self, position: usize, again: bool) -> Result<(Child, ChildStdin), Failure> {
        let Options { nodes, seed, .. } = self.options;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("validator").args(["--position", &position.to_string()]).args(["--nodes", &nodes.to_string()]);
        command.args(["--seed", &seed.to_string()]).arg("--dir").arg(&self.dir);
        if again {
            command.arg("--again");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        };
        let tell = self.tell.clone();
        thread::spawn(move || {
            let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
            // The last line of one that was killed may be cut short.
            while stdout.read_line(&mut line).is_ok() && line.ends_with('\n') {
                let news = line.trim_end().parse::<News>();
                if !news.is_ok_and(|news| tell.send((position, Instant::now(), news)).is_ok()) {
                    break;
                }
                line.clear();
            }
        });
        Ok((child, stdin))
    }

    fn order(&mut self, position: usize, order: &Order) -> bool {
        let process = self.members[position].process.as_mut();
        process.is_some_and(|(_, stdin)| stdin.write_all(order.line().as_bytes()).is_ok())
    }

    /// Takes news until a moment.
    fn listen(&mut self, until: Instant) -> Result<(), Failure> {
        while let Ok((position, at, news)) = self.news.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.take(position, at, news)?;
        }
        Ok(())
    }

    fn take(&mut self, position: usize, at: Instant, news: News) -> Result<(), Failure> {
        let wrong = |what: String| Failure::Wrong { position, what };
        match news {
            News::Port(port) => {
                let member = &mut self.members[position];
                member.port = Some(port);
                // The file has been read: what was told before must be in it.
                if let Some(place) = member.log.keys().find(|place| !member.said.contains(*place)) {
                    return Err(wrong(format!("has lost checkpoint {place:?}, which it had told")));
                }
                for other in (0..self.members.len()).filter(|other| *other != position) {
                    self.order(other, &Order::Peer(position, port));
                    if let Some(port) = self.members[other].port {
                        self.order(position, &Order::Peer(other, port));
                    }
                }
            }
            News::Certified(number) => {
                if let Some(of) = self.matches.get_mut(number as usize) {
                    of.certified.get_or_insert(at);
                }
            }
            News::Refused(_) => self.refused += 1,
            News::Settled(settled) => {
                for number in &settled.matches {
                    if let Some(of) = self.matches.get_mut(*number as usize) {
                        of.settled.get_or_insert(at);
                    }
                }
                let member = &mut self.members[position];
                let place = settled.place;
                member.said.insert(place);
                let known = member.log.entry(place).or_insert_with(|| settled.clone());
                if *known != settled {
                    return Err(wrong(format!("tells another checkpoint {place:?} than before")));
                }
                if let Some((begun, _)) = member.behind.take_if(|(_, goal)| place >= *goal) {
                    let seconds = at.saturating_duration_since(begun).as_secs_f64();
                    self.recovered
                        .push(format!("validator {position} was where the others had been after {seconds:.2} s"));
                }
            }
        }
        Ok(())
    }

    /// Gives matches, kills and begins again, all at their times.
    fn load(&mut self) -> Result<Vec<Phase>, Failure> {
        let begin = Instant::now();
        let whole = Duration::from_secs(self.options.seconds);
        let parts = 2 * self.options.kills as u32 + 1;
        let mut phases = Vec::new();
        for part in 0..parts {
            // The last validator first, then the one before it.
            let victim = self.members.len() - 1 - (part.saturating_sub(1) as usize / 2) % self.members.len();
            let name = match part {
                0 => "all up".into(),
                part if part % 2 == 1 => {
                    self.kill(victim)?;
                    format!("{victim} killed")
                }
                _ => {
                    self.begin_again(victim)?;
                    format!("{victim} again")
                }
            };
            let (from, end) = (begin + whole * part / parts, begin + whole * (part + 1) / parts);
            while Instant::now() < end {
                let due = (begin.elapsed().as_secs_f64() * self.options.rate as f64) as usize;
                self.give(due)?;
                self.listen((Instant::now() + Duration::from_millis(2)).min(end))?;
            }
            phases.push(Phase { name, begin: from, end });
        }
        // Every validator that is up has what is due by now.
        self.give((self.options.seconds * self.options.rate) as usize)?;
        Ok(phases)
    }

    fn kill(&mut self, position: usize) -> Result<(), Failure> {
        let member = &mut self.members[position];
        if let Some((mut child, _)) = member.process.take() {
            // SIGKILL.
            child.kill()?;
            child.wait()?;
        }
        member.port = None;
        Ok(())
    }

    fn begin_again(&mut self, position: usize) -> Result<(), Failure> {
        let goal = self.members.iter().filter_map(|member| member.log.keys().next_back()).max().copied();
        let process = self.begin(position, true)?;
        let member = &mut self.members[position];
        member.process = Some(process);
        member.said.clear();
        member.behind = goal.map(|goal| (Instant::now(), goal));
        Ok(())
    }

    /// Gives all matches up to a number, and those again that have waited for long.
    fn give(&mut self, due: usize) -> Result<(), Failure> {
        let now = Instant::now();
        while self.matches.len() < due {
            let number = self.matches.len();
            self.matches.push(Match { given: now, tried: now, certified: None, settled: None });
            self.give_one(number, number)?;
        }
        for number in 0..self.matches.len() {
            let of = &mut self.matches[number];
            if of.settled.is_none() && now.saturating_duration_since(of.tried) >= RETRY {
                of.tried = now;
                self.again += 1;
                self.give_one(number, number + self.again as usize)?;
            }
        }
        Ok(())
    }

    fn give_one(&mut self, number: usize, first: usize) -> Result<(), Failure> {
        let nodes = self.members.len();
        // A client knows who answers: it gives nothing to one that does not.
        let taken = (first..first + nodes).any(|to| self.order(to % nodes, &Order::Match(number as u64)));
        if taken { Ok(()) } else { Err(io::Error::from(io::ErrorKind::BrokenPipe).into()) }
    }

    /// Waits until something holds for all members.
    fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> Vec<bool>) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            let Some(position) = holds(self).iter().position(|held| !held) else { return Ok(()) };
            if Instant::now() >= end {
                let what = format!("{what} after {} s; {}", PATIENCE.as_secs(), self.standing());
                return Err(Failure::Wrong { position, what });
            }
            self.give(self.matches.len())?;
            self.listen(Instant::now() + Duration::from_millis(5))?;
        }
    }

    /// How far each validator is.
    fn standing(&self) -> String {
        let of = |(position, Member { port, log, .. }): (usize, &Member)| {
            let (epoch, sequence) = log.keys().next_back().copied().unwrap_or_default();
            let settled: usize = log.values().map(|news| news.matches.len()).sum();
            let (count, listens) = (log.len(), if port.is_some() { "" } else { ", does not listen" });
            format!("{position}: {count} checkpoints up to {epoch}.{sequence}, {settled} matches{listens}")
        };
        let members: Vec<String> = self.members.iter().enumerate().map(of).collect();
        format!("of {} matches, {}", self.matches.len(), members.join("; "))
    }

    fn stop(&mut self) -> Result<(), Failure> {
        for position in 0..self.members.len() {
            self.order(position, &Order::Stop);
            if let Some((mut child, stdin)) = self.members[position].process.take() {
                drop(stdin);
                let status = child.wait()?;
                if !status.success() {
                    return Err(Failure::Wrong { position, what: format!("ended with {status}") });
                }
            }
        }
        self.listen(Instant::now())
    }

    /// Whether all have settled the same, each match once; the last checkpoint that all have.
    fn compare(&self) -> Result<SettledNews, Failure> {
        let none = || Failure::Wrong { position: 0, what: "has settled nothing".into() };
        let last = self.members.iter().map(|member| member.log.keys().next_back()).min().flatten().ok_or_else(none)?;
        let same = &self.members[0].log;
        for (position, Member { log, .. }) in self.members.iter().enumerate() {
            let wrong = |what| Err(Failure::Wrong { position, what });
            if !log.range(..=*last).eq(same.range(..=*last)) {
                return wrong("has settled something else than validator 0".into());
            }
            let mut seen = BTreeSet::new();
            if let Some(twice) = log.values().flat_map(|news| &news.matches).find(|number| !seen.insert(**number)) {
                return wrong(format!("has settled match {twice} twice"));
            }
            if seen.len() != self.matches.len() {
                return wrong(format!("has settled {} of {} matches", seen.len(), self.matches.len()));
            }
        }
        same.get(last).cloned().ok_or_else(none)
    }

    fn table(&self, phases: &[Phase], last: &SettledNews) -> String {
        let Options { nodes, rate, seconds, .. } = self.options;
        let mut text = format!(
            "{nodes} validators, each a process with a file of its own, over TCP on the loopback interface, ML-DSA-65;\n\
             {rate} matches a second for {seconds} s\n\n\
             {:<12} {:>11}  {:>6} {:>8}   {:>17}   {:>17}\n\
             {:<12} {:>11}  {:>6} {:>8}   {:>17}   {:>17}\n",
            "",
            "",
            "",
            "",
            "certified, ms",
            "settled, ms",
            "phase",
            "seconds",
            "given",
            "settled",
            "p50 / p99",
            "p50 / p99"
        );
        let Some(start) = phases.first().map(|phase| phase.begin) else { return text };
        let after =
            phases.last().map(|phase| Phase { name: "after".into(), begin: phase.end, end: phase.end + PATIENCE });
        for Phase { name, begin, end } in phases.iter().chain(after.iter()) {
            let within = |moment: &Instant| (begin..end).contains(&moment);
            let given = || self.matches.iter().filter(|of| within(&of.given));
            let settled = self.matches.iter().filter_map(|of| of.settled).filter(within).count();
            let times = |when: fn(&Match) -> Option<Instant>| {
                let times = given().filter_map(|of| Some(when(of)?.saturating_duration_since(of.given).as_millis()));
                quantiles(times.collect())
            };
            let seconds = |moment: &Instant| moment.saturating_duration_since(start).as_secs_f64();
            let span = if name == "after" {
                "the load".into()
            } else {
                format!("{:.1} - {:.1}", seconds(begin), seconds(end))
            };
            let _ = writeln!(
                text,
                "{name:<12} {span:>11}  {:>6} {settled:>8}   {:>17}   {:>17}",
                given().count(),
                times(|of| of.certified),
                times(|of| of.settled)
            );
        }
        text += "(by the first validator that says so, as the client sees it)\n\n";
        for line in &self.recovered {
            let _ = writeln!(text, "begun again, {line}");
        }
        let SettledNews { place: (epoch, sequence), digest, .. } = last;
        let _ = write!(
            text,
            "refused {}, given again to another validator {}\n\
             {} matches settled by each of {nodes} validators, each match once, in the same order, nothing told was lost\n\
             checkpoint {sequence} of epoch {epoch} at all of them: {digest}\n",
            self.refused,
            self.again,
            self.matches.len(),
        );
        text
    }
}

fn quantiles(mut times: Vec<u128>) -> String {
    times.sort_unstable();
    let at = |per_cent: usize| times.get((times.len().saturating_sub(1)) * per_cent / 100);
    match (at(50), at(99)) {
        (Some(half), Some(most)) => format!("{half} / {most}"),
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few() {
        assert_eq!(quantiles(Vec::new()), "-");
        assert_eq!(quantiles(vec![7]), "7 / 7");
        assert_eq!(quantiles((0..=100).rev().collect()), "50 / 99");
    }
}
