//! What other validators say.

use alloc::vec::Vec;

use super::{FastPath, Waiting};
use crate::checkpoint::Hash;
use crate::committee::{MessageError, Sign, VerifyAll};
use crate::evidence::Evidence;
use crate::fastpath::certificate::{Ack, Certificate, fits};
use crate::fastpath::dag::ParentsError;
use crate::fastpath::messages::{FastMessage, FastOutput, MAX_GET};
use crate::fastpath::vertex::{Tx, Vertex};
use crate::store::{Entry, EntryKind, Record};

impl<A: Sign + VerifyAll> FastPath<A> {
    pub(super) fn receive(&mut self, from: u32, message: FastMessage) -> Result<(), MessageError> {
        match message {
            FastMessage::Vertex(vertex) => self.on_vertex(from, vertex),
            FastMessage::Ack(ack) => self.on_ack(ack),
            FastMessage::Certificate(certificate) => self.on_certificate(from, certificate),
            FastMessage::Get(ids) => {
                let held =
                    |id: &Hash| self.dag.get(id).map(|(certificate, vertex)| (certificate.clone(), vertex.clone()));
                let found: Vec<_> = ids.iter().take(MAX_GET).filter_map(held).collect();
                if !found.is_empty() {
                    self.outputs.push_back(FastOutput::Send { to: from, message: FastMessage::Certificates(found) });
                }
                Ok(())
            }
            FastMessage::Certificates(found) => {
                for (certificate, vertex) in found {
                    self.on_fetched(from, certificate, vertex)?;
                }
                Ok(())
            }
        }
    }

    fn on_vertex(&mut self, from: u32, vertex: Vertex) -> Result<(), MessageError> {
        let (round, author) = (vertex.round(), vertex.author());
        if round <= self.dag.floor() {
            return Err(MessageError::Stale { found: round, current: self.round });
        }
        let id = vertex.id(&self.committee);
        if let Some((known, ack, token)) = self.acked.get(&(round, author)) {
            if *known == id {
                // The same answer, but not before it is durable: then it leaves by itself.
                if *token < self.durable {
                    let ack = ack.clone();
                    self.reply(author, ack);
                }
                return Ok(());
            }
            vertex.verify(&self.committee, &self.authority)?;
            if let Some(first) = self.vertices.get(known) {
                let (first, second) = (first.signed().clone(), vertex.signed().clone());
                self.accuse(Evidence::Vertices { first, second });
            }
            return Ok(());
        }
        if self.dag.has(round, author) && self.vertices.contains_key(&id) {
            return Ok(());
        }
        vertex.verify(&self.committee, &self.authority)?;
        let is_ahead = round > self.round.saturating_add(self.config.ahead);
        match self.dag.parents(&self.committee, &vertex) {
            Err(ParentsError::Missing(missing)) => {
                // Vertices further ahead are not kept, but lead to what is missing here.
                if let Some(&lacks) = missing.first().filter(|_| !is_ahead) {
                    self.waiting.entry((round, author)).or_insert(Waiting { vertex, lacks });
                }
                for parent in missing {
                    self.want(parent, round - 1, from);
                }
                Ok(())
            }
            _ if is_ahead => Err(MessageError::TooFarAhead { found: round, current: self.round }),
            Err(ParentsError::Unfit) => Err(MessageError::Malformed { field: "parents" }),
            Ok(_) => self.acknowledge(id, vertex),
        }
    }

    fn reply(&mut self, author: u32, ack: Ack) {
        if Some(author) == self.own {
            self.local.push_back(FastMessage::Ack(ack));
        } else {
            self.outputs.push_back(FastOutput::Send { to: author, message: FastMessage::Ack(ack) });
        }
    }

    /// Acknowledges a vertex whose parents are held: the first of its author and round.
    pub(super) fn acknowledge(&mut self, id: Hash, vertex: Vertex) -> Result<(), MessageError> {
        let Some(own) = self.own.filter(|_| !self.closing) else { return Ok(()) };
        let bitmap = self.lock(&vertex);
        let bytes = Ack::signed_bytes(&self.committee, &id, vertex.round(), &bitmap);
        let signature = self.authority.sign(&bytes).map_err(|_| MessageError::Signature)?;
        let ack = Ack { vertex: id, round: vertex.round(), bitmap: bitmap.into(), acker: own, signature };
        self.vertices.insert(id, vertex.clone());
        let author = vertex.author();
        let mut encoder = self.committee.encoder("acked");
        vertex.write(&mut encoder);
        ack.write(&mut encoder);
        let entry = Entry { kind: EntryKind::Ack, number: vertex.round(), id, bytes: encoder.finish().into() };
        self.acked.insert((vertex.round(), author), (id, ack.clone(), self.next_token));
        let mut outputs = Vec::new();
        if author == own {
            outputs.push(FastOutput::Broadcast(FastMessage::Vertex(vertex.clone())));
        }
        outputs.push(FastOutput::Send { to: author, message: FastMessage::Ack(ack) });
        self.persist(alloc::vec![Record::Entry(entry)], outputs);
        // A certificate may have been waiting for the vertex.
        let bare = self.bare.remove(&(vertex.round(), author)).filter(|bare| bare.vertex == id);
        if let Some(certificate) = bare {
            self.complete(certificate, vertex);
        }
        Ok(())
    }

    /// Locks the keys of a vertex's transactions where all of a transaction's are free or its own; one bit for each.
    fn lock(&mut self, vertex: &Vertex) -> Vec<u8> {
        let mut bitmap = alloc::vec![0_u8; vertex.txs().len().div_ceil(8)];
        for (index, (tx, id)) in vertex.txs().iter().zip(vertex.tx_ids()).enumerate() {
            if tx.keys().iter().any(|key| self.locks.get(key).is_some_and(|other| other != id)) {
                continue;
            }
            let locked = tx.keys().iter().all(|key| self.locks.contains_key(key));
            if !locked && self.locks.len() + tx.keys().len() > self.config.max_locks {
                self.out_of_locks = true;
                continue;
            }
            bitmap[index / 8] |= 1 << (index % 8);
            if !locked {
                self.lock_keys(tx, id);
            }
        }
        bitmap
    }

    /// Locks the keys of a transaction, which all are free.
    pub(super) fn lock_keys(&mut self, tx: &Tx, id: &Hash) {
        self.locks.extend(tx.keys().iter().map(|key| (*key, *id)));
        self.undecided.push_back((self.now, *id));
    }

    fn on_ack(&mut self, ack: Ack) -> Result<(), MessageError> {
        let Some((id, vertex)) = self.own_vertex.as_ref().filter(|(id, _)| *id == ack.vertex) else {
            return Err(MessageError::Stale { found: ack.round, current: self.round });
        };
        if ack.round != vertex.round() || !fits(&ack.bitmap, vertex.txs().len()) {
            return Err(MessageError::Malformed { field: "ack" });
        }
        if self.own_acks.get(&ack.acker) == Some(&ack) {
            return Ok(());
        }
        ack.verify(&self.committee, &self.authority)?;
        if let Some(first) = self.own_acks.get(&ack.acker) {
            if first.bitmap != ack.bitmap {
                let evidence = Evidence::Acks { first: first.clone(), second: ack };
                self.accuse(evidence);
            }
            return Ok(());
        }
        let (id, vertex) = (*id, vertex.clone());
        self.own_acks.insert(ack.acker, ack);
        let stake: u64 = self.own_acks.keys().map(|acker| self.committee.stake(*acker)).sum();
        if self.committee.quorum().is_reached(stake)
            && !self.dag.has(vertex.round(), vertex.author())
            && let Some(certificate) = Certificate::new(vertex.author(), self.own_acks.values())
        {
            self.vertices.insert(id, vertex.clone());
            let certificate_id = certificate.id(&self.committee);
            let certified = certificate.certified(&self.committee, vertex.txs().len());
            let left_out = (0..).zip(vertex.tx_ids()).filter(|(index, _)| certified.binary_search(index).is_err());
            self.contested.extend(left_out.map(|(_, id)| *id));
            self.complete(certificate.clone(), vertex.clone());
            self.own_certificate = Some((certificate.clone(), self.next_token));
            let message = FastMessage::Certificate(certificate);
            let formed = FastOutput::CertificateFormed { id: certificate_id, round: vertex.round(), certified };
            self.persist(Vec::new(), alloc::vec![FastOutput::Broadcast(message), formed]);
        }
        Ok(())
    }

    fn on_certificate(&mut self, from: u32, certificate: Certificate) -> Result<(), MessageError> {
        let (round, author) = (certificate.round, certificate.author);
        if round <= self.dag.floor() {
            return Err(MessageError::Stale { found: round, current: self.round });
        }
        // One of an author and round is enough, unless another is asked for by id.
        if self.dag.has(round, author) {
            return Ok(());
        }
        certificate.verify(&self.committee, &self.authority)?;
        match self.vertices.get(&certificate.vertex) {
            Some(vertex) => {
                let vertex = vertex.clone();
                self.check_vertex(&certificate, &vertex)?;
                self.complete(certificate, vertex);
            }
            None => {
                self.want(certificate.id(&self.committee), round, from);
                if round <= self.round.saturating_add(self.config.ahead) {
                    self.bare.insert((round, author), certificate);
                }
            }
        }
        Ok(())
    }

    fn on_fetched(&mut self, from: u32, certificate: Certificate, vertex: Vertex) -> Result<(), MessageError> {
        let id = certificate.id(&self.committee);
        // Nothing is taken that was not asked for.
        if self.dag.contains(&id) || self.incomplete.contains_key(&id) || !self.wanted.contains(&id) {
            return Ok(());
        }
        if vertex.id(&self.committee) != certificate.vertex {
            return Err(MessageError::Malformed { field: "vertex" });
        }
        self.check_vertex(&certificate, &vertex)?;
        vertex.verify(&self.committee, &self.authority)?;
        certificate.verify(&self.committee, &self.authority)?;
        // What it stands on is asked of who sent it, rather than of its author.
        if let Err(ParentsError::Missing(missing)) = self.dag.parents(&self.committee, &vertex) {
            for parent in missing {
                self.want(parent, certificate.round - 1, from);
            }
        }
        self.complete(certificate, vertex);
        Ok(())
    }

    fn check_vertex(&self, certificate: &Certificate, vertex: &Vertex) -> Result<(), MessageError> {
        let count = vertex.txs().len();
        let fits = certificate.round == vertex.round()
            && certificate.author == vertex.author()
            && certificate.bitmaps.iter().all(|bitmap| fits(bitmap, count));
        if fits { Ok(()) } else { Err(MessageError::Malformed { field: "certificate" }) }
    }
}
