//! One validator: a process with a file, links to the others and a [`DualTrack`] that says what to do.

use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use hanzo::snow::checkpoint::Checkpoint;
use hanzo::snow::fastpath::{ConflictKey, FastConfig, Tx};
use hanzo::snow::settlement::{Memory, ReplicaConfig, Root, chain_from_store};
use hanzo::snow::{
    BlockStore as _, DualConfig, DualInput, DualMessage, DualOutput, DualTrack, Entry, EntryKind, Failure as Cause,
    NodeId, Record, Settled, SettledRecord, Timestamp, settled_from_store,
};
use hanzo_snow::RedbStore;

use crate::Failure;
use crate::keys::{Authority, Members};
use crate::lines::{News, Order, SettledNews};
use crate::links::{Identity, Outgoing, Received, listen};
use crate::options::ValidatorOptions;

/// Transactions of a vertex, so that 64 vertices fit a frame.
const MAX_TXS: usize = 64;
/// Bytes of a match.
const MATCH_BYTES: usize = 256;
/// Events that wait for the validator; links wait beyond that.
const WAITING: usize = 4_096;

enum Event {
    Received(Box<Received>),
    Order(Order),
    /// Whoever gives orders is gone.
    Alone,
}

/// A transaction for a match, under a key of its own.
fn transaction(number: u64) -> Option<Tx> {
    let mut bytes = vec![0; MATCH_BYTES];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Tx::new([ConflictKey::new(b"match", number)], bytes).ok()
}

fn number(tx: &Tx) -> Option<u64> {
    tx.bytes().first_chunk().copied().map(u64::from_be_bytes)
}

fn settled_news(checkpoint: &Checkpoint, txs: &[Tx]) -> SettledNews {
    SettledNews {
        place: (checkpoint.epoch, checkpoint.sequence),
        digest: checkpoint.digest().iter().map(|byte| format!("{byte:02x}")).collect(),
        matches: txs.iter().filter_map(number).collect(),
    }
}

/// The settled checkpoints of a store.
fn kept(entries: &[Entry]) -> Vec<SettledNews> {
    let checkpoints = entries.iter().filter(|entry| entry.kind == EntryKind::Checkpoint);
    let records = checkpoints.filter_map(|entry| {
        let epoch = u64::from_be_bytes(*entry.id.first_chunk()?);
        settled_from_store(std::slice::from_ref(entry), epoch, entry.number)
    });
    let news = records.filter_map(|message| match message {
        DualMessage::Settled(SettledRecord { checkpoint, txs, .. }) => Some(settled_news(&checkpoint, &txs)),
        _ => None,
    });
    news.collect()
}

/// Runs until it is told to stop or its standard input ends.
///
/// # Errors
///
/// What the file, the standard streams or the system refuse.
pub(crate) fn run(options: &ValidatorOptions) -> Result<(), Failure> {
    let Members { ids, committee, authority } = Members::new(options.nodes, options.seed, options.position)?;
    fs::create_dir_all(&options.dir)?;
    let file = options.dir.join(format!("validator-{}.redb", options.position));
    if options.again && !file.exists() {
        // It may have voted in any epoch so far, which only the others can say.
        return Err(Failure::Usage(format!("{} is gone, and what was voted with it", file.display())));
    }
    let store = RedbStore::open(file)?;
    let entries = store.entries()?;
    // Votes are kept before they are sent: who has kept nothing has sent none.
    let memory = if entries.is_empty() { Memory::Fresh(Root::default()) } else { Memory::Stored(entries.clone()) };
    let own = ids[options.position];
    let identity = Identity { own, chain: *committee.chain(), members: ids.into(), authority: authority.clone() };
    let (events, waiting) = sync_channel(WAITING);
    let port = listen(identity.clone(), {
        let events = events.clone();
        move |received| events.send(Event::Received(Box::new(received))).is_ok()
    })?;
    take_orders(events);
    // What the file says comes first: whoever listens can tell whether anything told before is lost.
    let mut news: Vec<News> = kept(&entries).into_iter().map(News::Settled).collect();
    news.push(News::Port(port));
    let begin = Instant::now();
    let track = DualTrack::new(config(own), committee, authority, memory, u64::from(port), Timestamp::from_nanos(0))?;
    let ways = identity.members.iter().map(|to| (*to != own).then(|| Outgoing::new(identity.clone(), *to))).collect();
    Validator { identity, begin, store, track, ways, news }.run(&waiting)
}

/// Timeouts for links of a millisecond and less; rounds and checkpoints as by default.
fn config(own: NodeId) -> DualConfig {
    let replica = |replica: ReplicaConfig| {
        replica.base_timeout(Duration::from_millis(400)).block_interval(Duration::from_millis(100))
    };
    let fast = |fast: FastConfig| fast.max_txs(MAX_TXS).idle_interval(Duration::from_millis(250));
    DualConfig::new(own).settlement(replica).fast_path(fast).unlock_after(Duration::from_secs(4))
}

fn take_orders(events: SyncSender<Event>) {
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let order = line.ok().and_then(|line| line.parse::<Order>().ok());
            let Some(order) = order else { break };
            if events.send(Event::Order(order)).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Alone);
    });
}

fn tell(news: &[News]) -> io::Result<()> {
    let text: String = news.iter().map(News::line).collect();
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

struct Validator {
    identity: Identity,
    begin: Instant,
    store: RedbStore,
    track: DualTrack<Authority>,
    ways: Vec<Option<Outgoing>>,
    news: Vec<News>,
}

impl Validator {
    fn run(mut self, waiting: &Receiver<Event>) -> Result<(), Failure> {
        loop {
            self.carry_out()?;
            tell(&self.news)?;
            self.news.clear();
            let due = Duration::from_nanos(self.track.poll_timeout().as_nanos());
            let mut event = match waiting.recv_timeout(due.saturating_sub(self.begin.elapsed())) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => {
                    self.give(DualInput::Tick);
                    None
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            // What has arrived meanwhile shares one commit.
            let mut taken = 0;
            while let Some(next) = event {
                match next {
                    Event::Received(received) => {
                        let Received { from, epoch, message } = *received;
                        self.give(DualInput::Message { from, epoch, message });
                    }
                    Event::Order(Order::Match(number)) => self.submit(number),
                    Event::Order(Order::Peer(position, port)) => {
                        if let Some(Some(way)) = self.ways.get(position) {
                            way.set_port(port);
                        }
                    }
                    Event::Order(Order::Stop) | Event::Alone => return Ok(()),
                }
                taken += 1;
                event = if taken < WAITING { waiting.try_recv().ok() } else { None };
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.begin.elapsed().as_nanos() as u64)
    }

    /// What is refused is of a peer that is behind, ahead or faulty: no reason to stop.
    fn give(&mut self, input: DualInput) -> bool {
        let now = self.now();
        self.track.handle(now, input).is_ok()
    }

    fn submit(&mut self, number: u64) {
        let taken = transaction(number).is_some_and(|tx| self.give(DualInput::Submit(tx)));
        if !taken {
            self.news.push(News::Refused(number));
        }
    }

    /// Does what comes out, and keeps all that is to be kept with one commit before what depends on it comes out.
    fn carry_out(&mut self) -> Result<(), Failure> {
        loop {
            let (mut records, mut last) = (Vec::new(), None);
            while let Some(output) = self.track.poll_output() {
                match output {
                    DualOutput::Persist { token, records: more } => {
                        records.extend(more);
                        last = Some(token);
                    }
                    other => self.act(other)?,
                }
            }
            let Some(token) = last else { return Ok(()) };
            if let Err(error) = self.keep(&records) {
                self.give(DualInput::Failed(Cause::Store));
                return Err(error);
            }
            self.give(DualInput::Persisted(token));
        }
    }

    fn keep(&mut self, records: &[Record<[u8; 32]>]) -> Result<(), Failure> {
        self.store.append(records)?;
        Ok(self.store.sync()?)
    }

    fn act(&mut self, output: DualOutput) -> Result<(), Failure> {
        match output {
            DualOutput::Send { to, epoch, message } => self.send(&to, epoch, &message),
            DualOutput::Broadcast { epoch, message } => {
                let frame: Arc<[u8]> = message.encode(&self.identity.chain, epoch).into();
                self.ways.iter().flatten().for_each(|way| way.send(&frame));
            }
            DualOutput::Serve { to, epoch, after } => {
                if let Some(chain) = chain_from_store(&self.store.entries()?, epoch, after) {
                    self.send(&to, epoch, &DualMessage::Settlement(chain));
                }
            }
            DualOutput::ServeSettled { to, epoch, sequence } => {
                if let Some(settled) = settled_from_store(&self.store.entries()?, epoch, sequence) {
                    self.send(&to, epoch, &settled);
                }
            }
            DualOutput::Certified(place) => self.news.extend(number(&place.tx).map(News::Certified)),
            DualOutput::Settled(Settled { checkpoint, txs, .. }) => {
                self.news.push(News::Settled(settled_news(&checkpoint, &txs)));
            }
            _ => {}
        }
        Ok(())
    }

    fn send(&self, to: &NodeId, epoch: u64, message: &DualMessage) {
        let way = self.identity.members.iter().position(|member| member == to).and_then(|at| self.ways[at].as_ref());
        if let Some(way) = way {
            way.send(&message.encode(&self.identity.chain, epoch).into());
        }
    }
}
