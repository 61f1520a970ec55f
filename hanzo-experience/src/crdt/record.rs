use std::collections::BTreeMap;

use serde::Serialize;

use super::vote::VoteMembers;
use super::{Equivocation, SignedVote, Vote};
use crate::content::check_printable;
use crate::json::{self, MAX_INTEGER};
use crate::merkle::{Hash, leaf_hash};
use crate::{Content, Error, Evidence, ExperienceId, Result};

/// What is known of an experience outside its hash: presence, label, usage and votes. Changing it changes no id and no
/// root.
///
/// The canonical bytes are RFC 8785 JSON of the members `id`, `inherited`, `label`, `presence`, `usage`, `v`, `votes`.
///
/// ```
/// use hanzo_experience::ExperienceId;
/// use hanzo_experience::crdt::{Record, Vote};
///
/// let id = ExperienceId::from_bytes([7; 32]);
/// let (mut a, mut b) = (Record::new(id), Record::new(id));
/// a.record_use("replica-a", 3)?;
/// b.record_use("replica-b", 4)?;
/// b.set_label("replica-b", "G0")?;
/// let joined = a.join(&b)?;
/// assert_eq!((joined.usage(), joined.label().text()), (7, "G0"));
/// assert_eq!(b.join(&a)?.to_canonical(), joined.to_canonical());
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    id: ExperienceId,
    inherited: u64,
    label: Label,
    presence: Presence,
    usage: BTreeMap<String, u64>,
    votes: BTreeMap<String, SignedVote>,
}

json::shape! {
    /// Whether an experience is wanted. In one epoch removal wins; adding again takes the next epoch.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    pub struct Presence {
        epoch: u64,
        removed: bool,
    }
}

impl Presence {
    /// How often it was added again.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether it was removed in this epoch.
    pub fn is_removed(&self) -> bool {
        self.removed
    }
}

json::shape! {
    /// A short name for people; the last writer wins, by logical time, then replica, then text.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    pub struct Label {
        lamport: u64,
        replica: String,
        text: String,
    }
}

impl Label {
    /// Largest number of bytes of the text.
    pub const MAX_BYTES: usize = 256;

    /// Logical time of the writer; 0 before the first label.
    pub fn lamport(&self) -> u64 {
        self.lamport
    }

    /// The replica that wrote it.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Record {
    /// The most bytes that votes, usage and label recorded here may reach; four records fill a frame of [`sync`](crate::sync).
    pub const MAX_BYTES: usize = 1 << 20;

    /// An experience that is present, with nothing else known.
    pub fn new(id: ExperienceId) -> Self {
        Self {
            id,
            inherited: 0,
            label: Label::default(),
            presence: Presence::default(),
            usage: BTreeMap::new(),
            votes: BTreeMap::new(),
        }
    }

    /// A record from its canonical bytes and no others.
    ///
    /// # Errors
    /// [`Error::DuplicateMember`], [`Error::UnknownMember`], [`Error::MissingMember`], [`Error::NotAnInteger`],
    /// [`Error::MalformedJson`], [`Error::NotCanonical`], or the error of the member that breaks its rule.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        let read: RecordMembers = json::read(bytes)?;
        if read.v != 1 {
            return Err(Error::OutOfRange { field: "v" });
        }
        check_printable("replica", &read.label.replica, usize::from(read.label.lamport > 0))?;
        check_label(&read.label.text)?;
        read.usage.keys().try_for_each(|replica| check_printable("usage", replica, 1))?;
        read.votes.keys().try_for_each(|voter| check_printable("votes", voter, 1))?;
        let votes = read.votes.into_iter().map(|(voter, vote)| Ok((voter, vote.check()?)));
        let record = Self {
            id: read.id.parse()?,
            inherited: read.inherited,
            label: read.label,
            presence: read.presence,
            usage: read.usage,
            votes: votes.collect::<Result<_>>()?,
        };
        if record.to_canonical() == bytes { Ok(record) } else { Err(Error::NotCanonical) }
    }

    /// The canonical bytes (RFC 8785).
    pub fn to_canonical(&self) -> Vec<u8> {
        // Declared in RFC 8785 order; the keys of the maps are ASCII.
        #[derive(Serialize)]
        struct Canonical<'a> {
            id: ExperienceId,
            inherited: u64,
            label: &'a Label,
            presence: Presence,
            usage: &'a BTreeMap<String, u64>,
            v: u8,
            votes: &'a BTreeMap<String, SignedVote>,
        }
        let mut bytes = Vec::new();
        json::write(
            &mut bytes,
            &Canonical {
                id: self.id,
                inherited: self.inherited,
                label: &self.label,
                presence: self.presence,
                usage: &self.usage,
                v: 1,
                votes: &self.votes,
            },
        );
        bytes
    }

    /// The leaf hash of the canonical bytes.
    pub fn digest(&self) -> Hash {
        leaf_hash(&self.to_canonical())
    }

    /// The least record that is at least both: associative, commutative, idempotent, and monotone.
    ///
    /// # Errors
    /// [`Error::UnknownId`] for records of two experiences.
    pub fn join(&self, other: &Self) -> Result<Self> {
        if self.id != other.id {
            return Err(Error::UnknownId { id: other.id });
        }
        let mut joined = self.clone();
        joined.inherited = joined.inherited.max(other.inherited);
        joined.presence = joined.presence.max(other.presence);
        if joined.label < other.label {
            joined.label = other.label.clone();
        }
        for (replica, uses) in &other.usage {
            let known = joined.usage.entry(replica.clone()).or_default();
            *known = (*known).max(*uses);
        }
        for (voter, vote) in &other.votes {
            match joined.votes.get_mut(voter) {
                Some(known) if *known < *vote => *known = vote.clone(),
                Some(_) => {}
                None => {
                    joined.votes.insert(voter.clone(), vote.clone());
                }
            }
        }
        Ok(joined)
    }

    /// Voters whose votes here and there differ at one logical time in more than the signature.
    pub fn equivocations(&self, other: &Self) -> Vec<Equivocation> {
        let pairs = self.votes.iter().filter_map(|(voter, vote)| Some((voter, vote, other.votes.get(voter)?)));
        let differ = pairs.filter(|(_, a, b)| a.lamport() == b.lamport() && a.value() != b.value());
        differ
            .map(|(voter, a, b)| Equivocation {
                id: self.id,
                voter: voter.clone(),
                votes: if a < b { [a.clone(), b.clone()] } else { [b.clone(), a.clone()] },
            })
            .collect()
    }

    /// The experience.
    pub fn id(&self) -> &ExperienceId {
        &self.id
    }

    /// Whether it is wanted.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// Its label.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The vote of this voter, if it voted.
    pub fn vote(&self, voter: &str) -> Option<&SignedVote> {
        self.votes.get(voter)
    }

    /// All votes by voter.
    pub fn votes(&self) -> impl Iterator<Item = (&str, &SignedVote)> {
        self.votes.iter().map(|(voter, vote)| (voter.as_str(), vote))
    }

    /// Votes for.
    pub fn up(&self) -> u32 {
        self.count(Vote::Up)
    }

    /// Votes against.
    pub fn down(&self) -> u32 {
        self.count(Vote::Down)
    }

    /// Uses at all replicas, with those inherited from what it replaces; at most 2^53 - 1.
    pub fn usage(&self) -> u64 {
        let sum = self.usage.values().fold(self.inherited, |sum, uses| sum.saturating_add(*uses));
        sum.min(MAX_INTEGER)
    }

    /// Uses inherited from the experiences it replaces.
    pub fn inherited(&self) -> u64 {
        self.inherited
    }

    /// Counts uses at a replica (1..=128 bytes of printable ASCII).
    ///
    /// # Errors
    /// [`Error::Overflow`] above 2^53 - 1; [`Error::OutOfRange`], [`Error::TooManyBytes`], [`Error::ForbiddenChar`] for
    /// the name.
    pub fn record_use(&mut self, replica: &str, times: u64) -> Result<()> {
        check_printable("replica", replica, 1)?;
        let known = self.usage.get(replica).copied().unwrap_or(0);
        let uses = known.checked_add(times).filter(|uses| *uses <= MAX_INTEGER).ok_or(Error::Overflow)?;
        match self.usage.get_mut(replica) {
            Some(known) => *known = uses,
            None => {
                self.check_room(usage_bytes(replica))?;
                self.usage.insert(replica.to_owned(), uses);
            }
        }
        Ok(())
    }

    /// Takes a vote whose signature the caller has checked; whether it counts, which it does if it is greater than the
    /// voter's vote so far.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::TooManyBytes`], [`Error::ForbiddenChar`] for the voter's name;
    /// [`Error::TooManyBytes`] for a record above [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn record_vote(&mut self, voter: &str, vote: SignedVote) -> Result<bool> {
        check_printable("voter", voter, 1)?;
        if self.votes.get(voter).is_some_and(|known| *known >= vote) {
            return Ok(false);
        }
        self.check_room(vote_bytes(voter, &vote))?;
        self.votes.insert(voter.to_owned(), vote);
        Ok(true)
    }

    /// Sets the label, at the next logical time.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::TooManyBytes`], [`Error::ForbiddenChar`] for the name of the replica (1..=128
    /// bytes of printable ASCII) and the text (at most 256 bytes, no control characters); [`Error::Overflow`].
    pub fn set_label(&mut self, replica: &str, text: &str) -> Result<()> {
        check_printable("replica", replica, 1)?;
        check_label(text)?;
        let lamport = self.label.lamport + 1;
        if lamport > MAX_INTEGER {
            return Err(Error::Overflow);
        }
        self.label = Label { lamport, replica: replica.to_owned(), text: text.to_owned() };
        Ok(())
    }

    /// Marks it removed.
    pub(crate) fn remove(&mut self) {
        self.presence.removed = true;
    }

    /// Marks it present, in the next epoch if it was removed.
    pub(crate) fn add(&mut self) -> Result<()> {
        if self.presence.removed {
            let epoch = self.presence.epoch + 1;
            if epoch > MAX_INTEGER {
                return Err(Error::Overflow);
            }
            self.presence = Presence { epoch, removed: false };
        }
        Ok(())
    }

    /// Takes over the usage of what it replaces; what it inherited before is never lost.
    pub(crate) fn inherit(&mut self, usage: u64) {
        self.inherited = self.inherited.max(usage.min(MAX_INTEGER));
    }

    /// What quality is computed from.
    pub(crate) fn evidence(&self, content: &Content, max_usage: u64) -> Evidence {
        Evidence {
            up: self.up(),
            down: self.down(),
            usage: self.usage(),
            max_usage,
            confidence_ppm: content.confidence_ppm(),
        }
    }

    fn count(&self, value: Vote) -> u32 {
        let count = self.votes.values().filter(|vote| vote.value() == value).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether `more` bytes of JSON still fit; a slight overestimate of what is there.
    fn check_room(&self, more: usize) -> Result<()> {
        let votes: usize = self.votes.iter().map(|(voter, vote)| vote_bytes(voter, vote)).sum();
        let usage: usize = self.usage.keys().map(|replica| usage_bytes(replica)).sum();
        let got = 1024 + votes + usage + more;
        if got > Self::MAX_BYTES { Err(Error::TooManyBytes { got, max: Self::MAX_BYTES }) } else { Ok(()) }
    }
}

/// At most the JSON of a vote.
fn vote_bytes(voter: &str, vote: &SignedVote) -> usize {
    voter.len() + 2 * vote.signature().len() + 64
}

/// At most the JSON of the uses at a replica.
fn usage_bytes(replica: &str) -> usize {
    replica.len() + 24
}

fn check_label(text: &str) -> Result<()> {
    if text.len() > Label::MAX_BYTES {
        return Err(Error::TooManyBytes { got: text.len(), max: Label::MAX_BYTES });
    }
    match text.chars().find(|ch| ch.is_control()) {
        Some(ch) => Err(Error::ForbiddenChar { ch }),
        None => Ok(()),
    }
}

json::shape! {
    struct RecordMembers {
        id: String,
        inherited: u64,
        label: Label,
        presence: Presence,
        usage: BTreeMap<String, u64>,
        v: u64,
        votes: BTreeMap<String, VoteMembers>,
    }
}
